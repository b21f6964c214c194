//! What a call costs whose own work is next to nothing.

use super::Measure;
use super::inputs::SMALL;

const AREA: &str = "calls";

pub(super) fn measures() -> Vec<Measure> {
    let content = vec![b'y'; SMALL];
    let measures = vec![
        Measure::call(AREA, "ping_daemon", 1000, |client| client.ping_daemon())
            .target(0.8)
            .rounds(21),
        Measure::call(AREA, "statns", 1000, |client| {
            client.statns("/small").map(drop)
        })
        .target(0.8)
        .rounds(21),
        Measure::call(AREA, "read 4 KiB (download)", 50, |client| {
            client.download("/small", &mut Vec::with_capacity(SMALL))
        })
        .target(0.1)
        .rounds(21),
        Measure::call(AREA, "write 4 KiB (internal_write)", 200, move |client| {
            client.internal_write("/written", &content)
        })
        .rounds(21),
    ];
    measures.into_iter().map(Measure::together).collect()
}
