//! The handlers of guestfsd, and what they share.
