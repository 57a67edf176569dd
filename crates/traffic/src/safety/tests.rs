use std::os::unix::ffi::OsStringExt;

use super::*;

fn safety() -> Safety {
    Safety {
        max_rate: Some("1mpps".parse().unwrap()),
        max_duration: Some(Span::from_secs(60)),
        allow: vec!["192.168.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
    }
}

fn profile(text: &str) -> Profile {
    serde_json::from_str(text).unwrap()
}

#[test]
fn each_ceiling_names_what_was_asked_and_what_is_allowed() {
    let ceilings = Ceilings::default().with(Origin::Options, safety());
    let check = |text: &str, duration_ms| {
        let limit = Limit { duration_ms, packets: Some(5) };
        let checked = ceilings.check(&profile(text), &limit, Some(10_000_000_000));
        checked.map_err(|refused| refused.to_string())
    };
    let minute = Some(60_000);
    assert_eq!(check(r#"{"rate": "1mpps"}"#, minute), Ok(()));
    for (profile, duration_ms, part) in [
        (
            r#"{"rate": "1.1mpps"}"#,
            minute,
            "1100000 packets per second exceeds the ceiling of 1000000 (--max-rate",
        ),
        (
            r#"{"rate": "1000000.25pps"}"#,
            minute,
            "1000000.2 packets per second exceeds the ceiling of 1000000.0",
        ),
        (r#"{"rate": "max"}"#, minute, "'max' has no bound"),
        (r#"{"rate": "10%"}"#, minute, "1488095 packets"),
        (r#"{"stages": [{"rate": "1pps", "to": "2mpps", "duration": "1s"}]}"#, minute, "2000000 packets"),
        (r#"{"rate": "1pps"}"#, Some(60_001), "of 1m 1ms exceeds the ceiling of 1m"),
        (r#"{"rate": "1pps"}"#, None, "without a duration"),
        (
            r#"{"rate": "1pps", "destination": {"ip": "10.0.0.1", "port": 1}}"#,
            minute,
            "10.0.0.1 to 10.0.0.1 do not lie within one of the allowed networks (192.168.0.0/16, 2001:db8::/32)",
        ),
        (
            r#"{"rate": "1pps", "flows": 9, "flowMode": "d", "destination": {"ip": "192.168.255.250", "port": 1}}"#,
            minute,
            "192.168.255.250 to 192.169.0.2",
        ),
    ] {
        let message = check(profile, duration_ms).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
    let open = Ceilings::default().with(Origin::Environment, Safety::default());
    assert_eq!(open.check(&profile(r#"{"rate": "max"}"#), &Limit::default(), None), Ok(()));
}

#[test]
fn the_tightest_of_several_ceilings_holds() {
    let rate = |text: &str| Safety { max_rate: Some(text.parse().unwrap()), ..Safety::default() };
    let most = |text: &str| Safety { max_duration: Some(text.parse().unwrap()), ..Safety::default() };
    let limit = Limit { duration_ms: Some(20_000), packets: None };
    for [tight, wide] in [[rate("1kpps"), rate("2kpps")], [most("10s"), most("30s")]] {
        for [options, environment] in [[tight.clone(), wide.clone()], [wide, tight]] {
            let ceilings =
                Ceilings::default().with(Origin::Options, options).with(Origin::Environment, environment);
            assert!(ceilings.check(&profile(r#"{"rate": "1500pps"}"#), &limit, None).is_err());
        }
    }
    let both = Ceilings::default().with(Origin::Options, rate("1gbps")).with(Origin::Document, rate("5kpps"));
    assert_eq!(both.most_pps(&"64".parse().unwrap(), None), Ok(Some(5_000.0)));
    let document = Ceilings::default().with(Origin::Document, most("10s")).with(Origin::Options, most("11s"));
    assert_eq!(document.longest(), Some(Span::from_secs(10)));
    let message = document.check(&profile("{}"), &limit, None).unwrap_err().to_string();
    assert!(message.contains("spec.safety.maxDuration"), "{message}");
}

#[test]
fn a_ceiling_holds_bursts() {
    let ceilings = Ceilings::default().with(Origin::Options, safety());
    let limit = Limit { duration_ms: Some(1_000), packets: None };
    let check = |rate: &str, burst: u32, most: &str| {
        let safety = Safety { max_rate: Some(most.parse().unwrap()), ..Safety::default() };
        let ceilings = Ceilings::default().with(Origin::Options, safety);
        let profile = profile(&format!(r#"{{"rate": "{rate}", "burst": {burst}}}"#));
        ceilings.check(&profile, &limit, None).map_err(|refused| refused.to_string())
    };
    // 10 ms at 1,000 packets per second are 10 packets, plus the one that is always allowed.
    assert_eq!(check("1000pps", 11, "1000pps"), Ok(()));
    assert_eq!(check("1pps", 1, "1pps"), Ok(()));
    for (burst, most) in [(12, "1000pps"), (65_536, "1000pps"), (2, "10pps")] {
        let message = check("1pps", burst, most).unwrap_err();
        assert!(message.contains(&format!("bursts of {burst} packets")), "{message}");
        assert!(message.contains("within 10 ms") && message.contains("--max-rate"), "{message}");
    }
    assert_eq!(ceilings.check(&profile(r#"{"rate": "1pps", "burst": 10001}"#), &limit, None), Ok(()));
}

#[test]
fn a_ceiling_holds_bursts_that_follow_each_other() {
    // (rate, burst, ceiling, packets within 10 ms and the admitted number when it is refused)
    for (rate, burst, most, refused) in [
        ("1000pps", 11, "1000pps", None),
        ("10kpps", 50, "10kpps", None),
        ("10kpps", 64, "10kpps", Some((128, 101))),
        ("6400pps", 64, "10kpps", None),
        ("6401pps", 64, "10kpps", Some((128, 101))),
        ("999.5pps", 1, "999.5pps", None),
    ] {
        let safety = Safety { max_rate: Some(most.parse().unwrap()), ..Safety::default() };
        let ceilings = Ceilings::default().with(Origin::Options, safety);
        let profile = profile(&format!(r#"{{"rate": "{rate}", "burst": {burst}}}"#));
        let checked = ceilings.check(&profile, &Limit::default(), None);
        let found = match &checked {
            Err(Unsafe::Bursts { asked, most, .. }) => Some((*asked, *most)),
            other => {
                assert_eq!(*other, Ok(()), "{rate} {burst}");
                None
            }
        };
        assert_eq!(found, refused, "{rate} {burst}: {checked:?}");
        let message = checked.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(
            message.contains("are 128 packets within 10 ms, and the ceiling (--max-rate"),
            refused.is_some()
        );
    }
}

#[test]
fn senders_get_what_ceilings_admit_within_10_ms() {
    let of = |rates: &[&str]| {
        rates.iter().fold(Ceilings::default(), |ceilings, rate| {
            let safety = Safety { max_rate: Some(rate.parse().unwrap()), ..Safety::default() };
            ceilings.with(Origin::Options, safety)
        })
    };
    let link = Some(10_000_000_000);
    for (rates, sizes, packets) in [
        (&[][..], "64", None),
        (&["max"], "64", None),
        (&["1kpps"], "64", Some(11)),
        (&["2kpps", "1kpps"], "imix", Some(11)),
        (&["1gbps"], "64,1436", Some(1667)),
        (&["50%"], "64", Some(74_405)),
    ] {
        assert_eq!(of(rates).packets_within(&sizes.parse().unwrap(), link), Ok(packets), "{rates:?} {sizes}");
    }
    assert!(of(&["50%"]).packets_within(&"64".parse().unwrap(), None).is_err());
    let times = of(&["max", "1kpps", "1mbps"]).frame_times_ps(&[64, 1250], link).unwrap();
    assert_eq!(
        times.iter().map(|times| times.to_vec()).collect::<Vec<_>>(),
        [[1_000_000_000, 1_000_000_000], [512_000_000, 10_000_000_000]]
    );
    assert!(of(&["50%"]).frame_times_ps(&[64], None).is_err());
}

#[test]
fn a_ceiling_holds_the_densest_stretch_of_a_recording() {
    let check = |frames: &[Departure], most: &str| {
        let safety = Safety { max_rate: Some(most.parse().unwrap()), ..Safety::default() };
        Ceilings::default().with(Origin::Options, safety).check_recording(
            Some(frames),
            &Limit::default(),
            None,
        )
    };
    let steady: Vec<Departure> = (0..1000).map(|i| (f64::from(i) / 1e3, 64)).collect();
    assert_eq!(check(&steady, "1000pps"), Ok(()));
    assert!(matches!(check(&steady, "990pps"), Err(Unsafe::Rate { .. })));
    // The mean is 100 packets per second; 50 of them leave within 5 ms, in the middle or across the end of
    // the round.
    let mut spike: Vec<Departure> = (0..50).map(|i| (f64::from(i) / 50.0, 64)).collect();
    spike.extend((0..50).map(|i| (0.5 + f64::from(i) / 1e4, 64)));
    spike.sort_by(|a, b| a.0.total_cmp(&b.0));
    let error = check(&spike, "1000pps").unwrap_err();
    assert!(
        matches!(error, Unsafe::Dense { packets: 12, at_s, .. } if (0.49..0.51).contains(&at_s)),
        "{error}"
    );
    assert_eq!(check(&spike, "10kpps"), Ok(()));
    // Few packets and many bytes.
    let large: Vec<Departure> = (0..20).map(|i| (f64::from(i), if i == 7 { 9000 } else { 64 })).collect();
    assert_eq!(check(&large, "1mbps"), Ok(()), "a single packet is always admitted");
    let mut two = large.clone();
    two[8] = (7.001, 9000);
    assert!(
        matches!(check(&two, "1mbps"), Err(Unsafe::Dense { packets: 2, .. })),
        "{:?}",
        check(&two, "1mbps")
    );
    // A round that begins at the end of the previous one.
    let mut ends: Vec<Departure> = (0..8).map(|i| (f64::from(i) / 1e4, 64)).collect();
    ends.extend((0..8).map(|i| (0.3 + f64::from(i) / 1e4, 64)));
    assert_eq!(check(&ends, "1000pps"), Ok(()));
    let safety = Safety { max_rate: Some(Rate::Pps(1.0)), ..Safety::default() };
    let ceilings = Ceilings::default().with(Origin::Environment, safety);
    let unbounded = ceilings.check_recording(None, &Limit::default(), None).unwrap_err().to_string();
    assert!(unbounded.contains(MAX_RATE_VARIABLE), "{unbounded}");
}

#[test]
fn what_depends_on_the_link_waits_for_it() {
    let ceilings = Ceilings::default().with(Origin::Document, safety());
    let limit = Limit { duration_ms: Some(1_000), packets: None };
    let half = profile(r#"{"rate": "50%"}"#);
    assert_eq!(ceilings.check_ahead(&half, &limit), Ok(()));
    assert!(matches!(ceilings.check(&half, &limit, Some(10_000_000_000)), Err(Unsafe::Rate { .. })));
    let too_long = Limit { duration_ms: Some(61_000), packets: None };
    assert!(matches!(ceilings.check_ahead(&half, &too_long), Err(Unsafe::Duration { .. })));
    let elsewhere = profile(r#"{"rate": "50%", "destination": {"ip": "10.0.0.1", "port": 1}}"#);
    assert!(matches!(ceilings.check_ahead(&elsewhere, &limit), Err(Unsafe::Destination { .. })));
    assert!(matches!(
        ceilings.check_ahead(&profile(r#"{"rate": "2mpps"}"#), &limit),
        Err(Unsafe::Rate { .. })
    ));
    assert!(matches!(
        ceilings.check_ahead(&profile(r#"{"rate": "max"}"#), &limit),
        Err(Unsafe::Unbounded { .. })
    ));
}

#[test]
fn environment_and_options_give_the_same_ceilings() {
    let safety =
        Safety { allow: vec!["10.1.2.3".parse().unwrap(), "2001:db8::/32".parse().unwrap()], ..safety() };
    let variables = safety.variables();
    let look_up =
        |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.into());
    assert_eq!(Safety::from_environment(look_up).unwrap(), safety);
    assert_eq!(
        safety.options(),
        ["--max-rate", "1mpps", "--max-duration", "1m", "--allow", "10.1.2.3/32,2001:db8::/32"]
    );
    assert_eq!(Safety::from_environment(|_| Some(OsString::new())).unwrap(), Safety::default());
    let wrong = Safety::from_environment(|name| (name == ALLOW_VARIABLE).then(|| "10.0.0.0/8,lan".into()));
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "environment variable LINERATE_ALLOW: 'lan' is not a network such as 192.168.0.0/16 or 2001:db8::/32"
    );
}

#[test]
fn a_variable_that_cannot_be_read_is_refused_and_not_left_out() {
    let of = |name: &'static str, value: &[u8]| {
        let value = OsString::from_vec(value.to_vec());
        Safety::from_environment(|asked| (asked == name).then(|| value.clone()))
    };
    for (name, value) in [
        (MAX_RATE_VARIABLE, &b"1kpps\xff"[..]),
        (MAX_DURATION_VARIABLE, b"1s\xff"),
        (ALLOW_VARIABLE, b"10.0.0.0/8\xff"),
        (ALLOW_VARIABLE, b","),
        (ALLOW_VARIABLE, b" , "),
    ] {
        let error = of(name, value).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("unset the variable"), "{error}");
    }
    assert_eq!(of(ALLOW_VARIABLE, b"10.0.0.0/8,").unwrap().allow.len(), 1);
}

#[test]
fn a_document_has_ceilings() {
    let text = r#"{"maxRate":"1mpps","maxDuration":"1m","allow":["192.168.0.0/16","2001:db8::/32"]}"#;
    assert_eq!(serde_json::from_str::<Safety>(text).unwrap(), safety());
    assert_eq!(serde_json::to_string(&safety()).unwrap(), text);
    assert!(serde_json::from_str::<Safety>(r#"{"allow": ["lan"]}"#).is_err());
}
