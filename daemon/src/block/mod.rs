//! Handlers of `idl/block/`: block devices, partitions, volumes and their contents.
