//! Any text as a profile document: refused in words, or frames that the receiver takes for its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linerate_measure::flows::{FrameWriter, Slots};
use linerate_measure::frame::Frames;
use linerate_measure::recognise::{Frame, PortVerdict, recognise};
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Profile, ProfileDocument};

/// One buffer, and the length of the frame in it.
struct Single<'a>(&'a mut [u8], &'a mut usize);

impl Slots for Single<'_> {
    fn each(self, mut write: impl FnMut(&mut [u8]) -> u16) -> usize {
        *self.1 = usize::from(write(self.0));
        1
    }
}

fuzz_target!(|text: &str| {
    let as_json = serde_json::from_str::<Profile>(text).ok();
    let as_yaml = serde_saphyr::from_str::<ProfileDocument>(text).ok();
    for profile in [as_json, as_yaml.and_then(|document| document.profile().ok())].into_iter().flatten() {
        let _ = (profile.name(), profile.destinations(), profile.load(Some(10_000_000_000)));
        let again = serde_json::to_string(&profile).expect("a profile can be written");
        assert_eq!(serde_json::from_str::<Profile>(&again).expect("and read"), profile);
        if profile.flows() > 1000 {
            continue;
        }
        let frames = Frames::new(&profile, MacAddr([2; 6]), MacAddr([4; 6]));
        let Some(mut writer) = FrameWriter::new(&profile, &frames, 7, 0, 1) else { continue };
        for _ in 0..writer.flow_count().min(20) {
            let (mut buffer, mut length) = (frames.template(), 0);
            writer.write(Single(&mut buffer, &mut length), 12_345);
            let frame = &buffer[..length];
            assert!(matches!(recognise(frame, length as u32, PortVerdict::Unknown), Frame::Ours(..)));
        }
    }
});
