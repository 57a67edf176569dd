//! Reports of a real run, read by their readers' programs: a browser, a TeX engine, a Markdown parser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{Bench, linerate, not_run, stderr, stdout};
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::Value;

const SPEC: &str = "  traffic: {frameSizes: [64, 512], flows: [100], flowMode: sd, rates: [50kpps]}
  trial: {duration: 500ms, sampleInterval: 100ms}
";
/// Worst case of a free text.
const HOSTILE: &str = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)> \\input{/etc/passwd} $x_1^2$ 50% \
     #&~{} | `a` [b](javascript:c) 🦀";
/// Long words without a break make pages overflow.
const LONG: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";

/// A recorded run with hostile free text in its summary.
fn recorded() -> (Bench, String) {
    let bench = Bench::new(SPEC);
    let run = bench.run(&["--quiet"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let directory = bench.experiment().unwrap();
    let path = directory.join("summary.json");
    let mut summary: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    summary["trials"][0]["notes"] = serde_json::json!([HOSTILE, LONG]);
    summary["trials"][1]["verdict"]["evidence"] = HOSTILE.into();
    summary["experiment"]["agents"][0]["device"] = format!("{LONG}{HOSTILE}").into();
    fs::write(&path, summary.to_string()).unwrap();
    (bench, directory.file_name().unwrap().to_str().unwrap().to_owned())
}

fn report(bench: &Bench, id: &str, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_linerate"))
        .args(["results", "report", id, "--results"])
        .arg(bench.path("results"))
        .args(options)
        .output()
        .unwrap()
}

/// The report in all formats, in a directory of its own.
fn all_formats(bench: &Bench, id: &str) -> PathBuf {
    let directory = bench.path("reports/new");
    let output = report(bench, id, &["--format", "html,md,latex", "--to", directory.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let names: Vec<String> = ["html", "md", "tex"].map(|ending| format!("linerate-{id}.{ending}")).into();
    let paths: Vec<String> = names.iter().map(|name| directory.join(name).display().to_string()).collect();
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), paths);
    directory
}

#[test]
fn a_real_round_trip_is_valid_and_shows_where_packets_went() {
    let spec = "  traffic: {frameSizes: [64], flows: [10], rates: [1kpps]}
  trial: {duration: 300ms, sampleInterval: 100ms, direction: round-trip, repeats: 2}
  agents: {workers: {tx: 1, rx: 2}}
";
    let bench = Bench::new(spec);
    let run = bench.run(&["--quiet"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let directory = bench.experiment().unwrap();
    let id = directory.file_name().unwrap().to_str().unwrap().to_owned();
    let checked = linerate(&["results", "validate", directory.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", stdout(&checked));
    let to = bench.path("out");
    let output = report(&bench, &id, &["--format", "html,md,latex,xlsx", "--to", to.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = fs::read_to_string(to.join(format!("linerate-{id}.html"))).unwrap();
    for part in ["id=\"round-trips\"", "id=\"repeats\"", "there and back", "SMT"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(fs::read(to.join(format!("linerate-{id}.xlsx"))).unwrap().starts_with(b"PK"));
    for trial in bench.summary().unwrap().trials {
        let text = fs::read_to_string(directory.join(&trial.trial)).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        let samples = record["samples"]["tx"].as_array().unwrap();
        let queues = samples.last().unwrap()["queue_frames"].as_array().unwrap();
        let frames: u64 = queues.iter().map(|queue| queue.as_u64().unwrap()).sum();
        assert_eq!(frames, trial.rx_queue_frames.iter().sum::<u64>(), "{queues:?}");
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn a_run_is_reported_in_every_format_and_the_numbers_are_the_summarys() {
    let (bench, id) = recorded();
    let directory = all_formats(&bench, &id);
    let page = fs::read_to_string(directory.join(format!("linerate-{id}.html"))).unwrap();
    let summary = bench.summary().unwrap();
    for trial in &summary.trials {
        let row = page.split(&format!("<tr data-key=\"{}\">", trial.trial)).nth(1).unwrap();
        let cell = |field: &str| {
            let cell =
                row.split(&format!("data-field=\"{field}\">")).nth(1).unwrap().split('<').next().unwrap();
            cell.replace([',', '!', ' '], "").parse::<f64>().unwrap_or_else(|_| panic!("{field}: {cell}"))
        };
        assert!((cell("offered_pps") * 1e6 - trial.offered_pps).abs() <= 0.5001, "{row}");
        assert!((cell("received_pps") * 1e6 - trial.received_pps).abs() <= 0.5001, "{row}");
        assert_eq!(cell("sent_packets") as u64, trial.sent_packets);
        assert_eq!(cell("lost_packets") as u64, trial.lost_packets);
        if let Some(delay) = trial.latency_ns {
            let shown = |field| (cell(field) * 1e3).round() as u64;
            assert_eq!((shown("p50"), shown("p99"), shown("max")), (delay.p50, delay.p99, delay.max));
        }
    }
    let charts = page.matches("<svg aria-hidden=\"true\" viewBox").count();
    assert!(charts >= 3 + 2 * summary.trials.len(), "{charts} charts");
    let markdown = fs::read_to_string(directory.join(format!("linerate-{id}.md"))).unwrap();
    let events: Vec<Event<'_>> = Parser::new_ext(&markdown, Options::ENABLE_TABLES).collect();
    let tables = events.iter().filter(|event| matches!(event, Event::Start(Tag::Table(_)))).count();
    assert!(tables > 3, "{markdown}");
    let is_markup = |event: &Event<'_>| {
        matches!(event, Event::Html(_) | Event::InlineHtml(_) | Event::Start(Tag::Link { .. }))
    };
    assert!(!events.iter().any(is_markup), "{markdown}");
}

#[test]
fn missing_report_tools_are_named() {
    let (bench, id) = recorded();
    let there = report(&bench, &id, &["--json", "--to", bench.path("there").to_str().unwrap()]);
    let answer: Value = serde_json::from_slice(&there.stdout).unwrap();
    assert_eq!(
        (&answer["id"], &answer["files"][0]["format"]),
        (&Value::from(id.as_str()), &Value::from("html"))
    );

    let output = report(&bench, "nonsense", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("8 hexadecimal digits"), "{}", stderr(&output));
    assert_eq!(report(&bench, &id, &["--format", "docx"]).status.code(), Some(2));

    fs::write(bench.path("file"), "").unwrap();
    let output = report(&bench, &id, &["--to", bench.path("file/below").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot create"), "{}", stderr(&output));

    // Without its record, a trial has no details in the report.
    let trial = &bench.summary().unwrap().trials[0].trial;
    fs::remove_file(bench.experiment().unwrap().join(trial)).unwrap();
    let output = report(&bench, &id, &["--to", bench.path("there").to_str().unwrap()]);
    assert!(output.status.success());
    assert!(stderr(&output).contains("lacks a trial's details"), "{}", stderr(&output));
    let page = fs::read_to_string(bench.path("there").join(format!("linerate-{id}.html"))).unwrap();
    assert!(page.contains("could not be read"));
}

/// Script that finds elements wider than the window, and the colour scheme in use.
const MEASURE: &str = "<script>addEventListener('load', () => {
  const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 0.5);
  parent.postMessage(JSON.stringify({ window: innerWidth, page: document.documentElement.scrollWidth, title: document.title,
    wide: wide.map(e => e.tagName + '.' + e.className).slice(0, 5), scheme: matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light',
    back: getComputedStyle(document.body).backgroundColor, axis: getComputedStyle(document.querySelector('figure svg text')).fill }), '*');
})</script></head>";

/// A page around the measured one: windows have a least width, frames do not.
fn frame(width: u32) -> String {
    format!(
        "<!DOCTYPE html><meta name='color-scheme' content='light dark'><pre id='measured'></pre>
         <script>onmessage = e => document.getElementById('measured').textContent = e.data</script>
         <iframe src='measured.html' style='border:0;width:{width}px;height:3000px'></iframe>"
    )
}

/// Headless Chromium on a page, with additional options.
fn chromium(bench: &Bench, page: &Path, name: &str, options: &[String]) -> Output {
    Command::new("timeout")
        .args([
            "120",
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ])
        .args(["--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", bench.path(name).display()))
        .args(options)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap()
}

#[test]
fn browsers_show_it_on_phones_and_desks_in_light_and_dark() {
    let name = "browsers_show_it_on_phones_and_desks_in_light_and_dark";
    if !has("chromium") {
        return not_run(name, "chromium is not installed");
    }
    let (bench, id) = recorded();
    let page = all_formats(&bench, &id).join(format!("linerate-{id}.html"));
    let text = fs::read_to_string(&page).unwrap();
    // The page's policy blocks scripts, so a copy without it is measured.
    let rule = "http-equiv=\"Content-Security-Policy\"";
    assert!(text.contains(rule));
    let measured = bench.path("measured.html");
    fs::write(&measured, text.replacen(rule, "name=\"no-rule\"", 1).replacen("</head>", MEASURE, 1)).unwrap();
    // Checks that console errors are detected at all.
    let broken = bench.path("broken.html");
    fs::write(&broken, "<!DOCTYPE html><script>nothing.here()</script>").unwrap();
    let output = chromium(&bench, &broken, "broken", &["--dump-dom".to_owned()]);
    assert!(stderr(&output).contains("CONSOLE"), "{}", stderr(&output));

    // Colours do not depend on the width, nor the widths of tables on colours.
    for (width, scheme, setting) in [(400_u32, "dark", 0), (1400, "light", 1)] {
        let look = format!("{width}-{scheme}");
        let picture = bench.path(&format!("{look}.png"));
        let options = [
            format!("--window-size={width},3000"),
            format!("--blink-settings=preferredColorScheme={setting}"),
        ];
        let with = |more: String| options.iter().cloned().chain([more]).collect::<Vec<_>>();

        let output = chromium(&bench, &page, &look, &with(format!("--screenshot={}", picture.display())));
        assert!(!stderr(&output).contains("CONSOLE"), "{look}: {}", stderr(&output));
        assert!(fs::metadata(&picture).unwrap().len() > 20_000, "{look}: an empty picture");

        let around = bench.path(&format!("{look}.html"));
        fs::write(&around, frame(width)).unwrap();
        let dump = ["--virtual-time-budget=5000", "--dump-dom"].map(str::to_owned);
        let options: Vec<String> = options.iter().cloned().chain(dump).collect();
        let output = chromium(&bench, &around, &look, &options);
        let dom = stdout(&output);
        let found = dom.split("<pre id=\"measured\">").nth(1).and_then(|rest| rest.split("</pre>").next());
        let found =
            found.unwrap_or_else(|| panic!("{look}: {}\n{}", stderr(&output), &dom[..dom.len().min(2000)]));
        let found: Value =
            serde_json::from_str(&found.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
                .unwrap();
        assert_eq!(found["window"], width, "{look}: {found}");
        assert!(found["page"].as_u64().unwrap() <= u64::from(width), "{look} overflows: {found}");
        assert_eq!(found["wide"], serde_json::json!([]), "{look}: {found}");
        assert_eq!(found["scheme"], scheme, "{look}: {found}");
        let [back, axis] = if scheme == "dark" {
            ["rgb(20, 23, 28)", "rgb(230, 233, 237)"]
        } else {
            ["rgb(255, 255, 255)", "rgb(27, 31, 36)"]
        };
        assert_eq!(
            (&found["back"], &found["axis"]),
            (&back.into(), &axis.into()),
            "{look}: charts follow the scheme"
        );
        assert!(
            found["title"].as_str().unwrap().ends_with("Linerate report"),
            "{look}: a script ran: {found}"
        );
    }
}

#[test]
fn the_article_compiles() {
    if !has("pdflatex") {
        return not_run("the_article_compiles", "pdflatex is not installed");
    }
    let (bench, id) = recorded();
    let directory = all_formats(&bench, &id);
    let output = Command::new("timeout")
        .args(["300", "pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error"])
        .arg(format!("linerate-{id}.tex"))
        .current_dir(&directory)
        .output()
        .unwrap();
    let log = fs::read(directory.join(format!("linerate-{id}.log"))).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    assert!(output.status.success(), "{log}");
    let pdf = fs::read(directory.join(format!("linerate-{id}.pdf"))).unwrap();
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 20_000);
    assert!(!log.contains("Missing character") && !log.contains("/etc/passwd)"), "{log}");
}
