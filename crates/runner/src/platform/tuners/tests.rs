use std::os::unix::fs::PermissionsExt;

use super::*;

const APPLIED: &str = r#"{"applied":[{"name":"rx-0 rps_cpus","place":{"rps_cpus":{"queue":0}},"before":{"cpus":"none"},"wanted":{"cpus":"0-1"},"now":{"cpus":"0-1"},"took":true,"error":null}]}"#;
const RESTORED: &str = r#"{"restored":{"restored":[],"untouched":1,"failed":[],"link_down":null}}"#;
const FAILED: &str = r#"{"restored":{"restored":[],"untouched":0,"failed":[{"name":"rx-0 rps_cpus","wanted":{"cpus":"none"},"reason":"no"}],"link_down":null}}"#;

fn setting(yaml: &str) -> HostSetting {
    serde_json::from_str(yaml).unwrap()
}

/// A program that answers with these lines, the last when its standard input has ended. What was left behind is not
/// restored while there is a file `left` beside it.
fn program(directory: &Path, first: &str, last: &str) -> PathBuf {
    let (path, place) = (directory.join("tune"), directory.display());
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {place}/calls\n\
         if [ \"$2\" = restore ]; then\n\
         if [ -e {place}/left ]; then cat {place}/left; exit 1; fi\n\
         echo '{{\"journals\":[],\"forgotten\":[]}}'; exit 0\nfi\n\
         printf '%s\\n' '{first}'\ncat > /dev/null\nprintf '%s\\n' '{last}'\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn eth0() -> Option<Vec<Target>> {
    Some(vec![Target::of_machine("eth0")])
}

#[test]
fn settings_of_the_whole_host_are_of_one_process() {
    let of_agent = || {
        Some(vec![Target {
            agent: Some("rx0".to_owned()),
            namespace: Some("ns".to_owned()),
            interface: "net0".to_owned(),
        }])
    };
    let told = |yaml: &str| {
        let work = work(&setting(yaml), of_agent).unwrap();
        work.into_iter()
            .map(|(target, options)| format!("{} {}", target.interface, options.join(" ")))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(r#"{"governor":"performance"}"#), ["lo --governor performance"]);
    assert_eq!(
        told(r#"{"interfaces":["eth1","eth2"],"rps":"on","governor":"performance"}"#),
        ["eth1 --rps on --governor performance", "eth2 --rps on"]
    );
    assert_eq!(
        told(r#"{"interfaces":["lo"],"rfs":"32768","governor":"performance"}"#),
        ["lo --rfs 32768 --governor performance"]
    );
    assert_eq!(
        told(r#"{"rps":"on","governor":"performance"}"#),
        ["net0 --rps on", "lo --governor performance"]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_setting_is_held_until_another_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let mut tuners = Tuners::new(Some(program(directory.path(), APPLIED, RESTORED)), directory.path());
    assert_eq!(tuners.put(None, eth0).await.unwrap(), None);
    let on = setting(r#"{"name":"on","rps":"on"}"#);
    let values = tuners.put(Some(&on), eth0).await.unwrap().unwrap();
    assert_eq!((values.len(), values[0].now.as_deref()), (1, Some("0-1")));
    assert_eq!(tuners.put(Some(&on), eth0).await.unwrap(), None, "in force already");
    tuners.still_held().unwrap();
    tuners.held[0].child.kill().await.unwrap();
    let told = tuners.still_held().unwrap_err().to_string();
    assert!(told.starts_with("eth0: the process that holds the host setting ended"), "{told}");
    // What it left is restored from its journal.
    assert_eq!(tuners.put(Some(&on), eth0).await.unwrap().unwrap(), values);
    let as_it_is = setting(r#"{"name":"as-it-is"}"#);
    assert_eq!(tuners.put(Some(&as_it_is), eth0).await.unwrap(), Some(Vec::new()));
    assert!(tuners.held.is_empty());
    assert_eq!(tuners.put(None, eth0).await.unwrap(), None);
    let calls = std::fs::read_to_string(directory.path().join("calls")).unwrap();
    let apply = "tune apply --interface eth0 --rps on --allow-host-changes --until-eof --json --quiet";
    let restore = "tune restore --json";
    assert_eq!(calls.lines().collect::<Vec<_>>(), [restore, apply, restore, apply]);
}

#[tokio::test(flavor = "current_thread")]
async fn what_was_begun_is_restored_when_nobody_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut tuners = Tuners::new(Some(program(directory.path(), "", RESTORED)), directory.path());
    let on = setting(r#"{"name":"on","rps":"on"}"#);
    // It answers with an empty line, after which nothing comes.
    let calls = directory.path().join("calls");
    let begun = async {
        while !std::fs::read_to_string(&calls).is_ok_and(|calls| calls.contains("apply")) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        put = tuners.put(Some(&on), eth0) => panic!("{put:?}"),
        () = begun => {}
    }
    assert_eq!(tuners.held.len(), 1);
    assert_eq!(tuners.put(None, eth0).await.unwrap(), None);
    assert!(tuners.held.is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn what_does_not_take_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let untaken =
        APPLIED.replace(r#""now":{"cpus":"0-1"},"took":true"#, r#""now":{"cpus":"0"},"took":false"#);
    let on = setting(r#"{"name":"on","rps":"on"}"#);
    for (first, last, part) in [
        (
            untaken.as_str(),
            RESTORED,
            "host setting on: eth0: rx-0 rps_cpus did not take: wanted 0-1, it is 0",
        ),
        (r#"{"error":{"message":"root alone"}}"#, "", "host setting on: eth0: root alone"),
        (RESTORED, "", "without an answer"),
    ] {
        let mut tuners = Tuners::new(Some(program(directory.path(), first, last)), directory.path());
        for _ in 0..2 {
            let told = tuners.put(Some(&on), eth0).await.unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
            assert!(tuners.held.is_empty() && tuners.unrestored.is_empty());
        }
    }
    let mut tuners = Tuners::new(Some(program(directory.path(), APPLIED, RESTORED)), directory.path());
    let told = tuners.put(Some(&on), || Some(Vec::new())).await.unwrap_err().to_string();
    assert!(told.contains("name interfaces of this machine"), "{told}");
    // Shared memory has nothing to set.
    let off = setting(r#"{"name":"off","rps":"off"}"#);
    assert_eq!(tuners.put(Some(&off), || None).await.unwrap(), Some(Vec::new()));
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_is_measured_with_what_is_not_restored() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join("left");
    let journal = format!(
        r#"{{"journals":[{{"interface":{{"name":"eth0"}},"pid":1,"unix_s":2,"outcome":{FAILED}}}],"forgotten":[]}}"#
    );
    let named = |name: &str| setting(&format!(r#"{{"name":"{name}","rps":"on"}}"#));
    let as_it_is = setting(r#"{"name":"as-it-is"}"#);
    let mut tuners = Tuners::new(Some(program(directory.path(), APPLIED, FAILED)), directory.path());
    // Of a run that was killed.
    std::fs::write(&left, &journal).unwrap();
    let told = tuners.put(Some(&as_it_is), eth0).await.unwrap_err().to_string();
    assert!(told.contains("left behind is not restored: eth0: rx-0 rps_cpus: no; "), "{told}");
    std::fs::remove_file(&left).unwrap();
    tuners.put(Some(&named("on")), eth0).await.unwrap();
    // Of this run.
    std::fs::write(&left, &journal).unwrap();
    for next in [None, Some(named("a")), Some(as_it_is)] {
        let told = tuners.put(next.as_ref(), eth0).await.unwrap_err().to_string();
        assert!(
            told.contains("not restored: eth0: rx-0 rps_cpus: no; `linerate-hostplane tune restore`"),
            "{told}"
        );
    }
    assert!(tuners.put(None, eth0).await.is_err(), "told at the end");
    std::fs::remove_file(&left).unwrap();
    tuners.put(Some(&named("b")), eth0).await.unwrap();
    // Nor is it when its process was killed and its journal stays.
    std::fs::write(&left, &journal).unwrap();
    tuners.held[0].child.kill().await.unwrap();
    let told = tuners.put(None, eth0).await.unwrap_err().to_string();
    assert!(told.contains("ended with signal: 9") && told.contains("eth0: rx-0 rps_cpus: no"), "{told}");
    // Documents that change nothing look at nothing.
    let mut tuners = Tuners::new(None, directory.path());
    let nothing = setting(r#"{"name":"nothing"}"#);
    assert_eq!(tuners.put(Some(&nothing), eth0).await.unwrap(), Some(Vec::new()));
}
