//! LVM, as far as it works without the device mapper.

use std::fs;

use conformance::{Direct, DiskSpec};

fn shell(direct: &mut Direct, script: &str) {
    let script = format!("{script} && echo done");
    let said = direct.debug("sh", &[&script]).expect("sh");
    let said = String::from_utf8_lossy(&said);
    assert!(said.trim_end().ends_with("done"), "{script}: {said}");
}

#[test]
fn metadata_that_no_reply_can_hold_is_refused() {
    const LIMIT: usize = 4 << 20;
    let mut direct = Direct::start(&[DiskSpec::Blank(64 << 20)]);
    shell(
        &mut direct,
        "lvm pvcreate --metadatasize 16m /dev/sda && lvm vgcreate vg /dev/sda",
    );
    let small = direct.vgmeta("vg").expect("vgmeta");
    let small = String::from_utf8(small).expect("text");
    assert!(small.contains("physical_volumes"), "{small}");

    // LVM takes tags of up to 1,024 characters.
    let tags: Vec<_> = (0..=LIMIT / 1000)
        .map(|n| format!("\"{n:01000}\""))
        .collect();
    let tags = format!("flags = []\ntags = [{}]\n", tags.join(", "));
    let large = small.replacen("flags = []", &tags, 1);
    assert!(large.len() > LIMIT);
    fs::write(direct.root().join("tmp/large"), large).expect("write");
    shell(&mut direct, "lvm vgcfgrestore -f /tmp/large vg");
    direct.forget_peak_memory();
    let before = direct.peak_memory();
    let error = direct.vgmeta("vg").expect_err("too large");
    assert_eq!(error.errno(), "E2BIG", "{error}");
    assert!(error.to_string().contains("4194304"), "{error}");
    let used = direct.peak_memory().saturating_sub(before);
    assert!(used < LIMIT as u64, "{used} bytes");
}
