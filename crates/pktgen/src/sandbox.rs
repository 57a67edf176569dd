//! Sandbox for scripts.
//!
//! A script can use only the listed functions and substitutes for `io` and `os` without effect
//! (`prelude.lua`): no files, no processes, no loading of code, no way to catch an error. It has a limit on
//! memory, a limit on instructions and, for library functions that count no instructions, a limit on time. A
//! script within its limits leaves nothing of the interpreter behind. A script that exceeds its time limit is
//! abandoned on its thread, which ends with the process.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mlua::chunk::ChunkMode;
use mlua::{Error, HookTriggers, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value, VmState};

use super::ImportError;
use super::argument::Argument;
use super::calls::{LEFT_OUT, RANGE_OTHERS, SHAPING};
use super::range::Ranged;
use super::recorder::Recorder;

/// Name of a script in Lua's messages.
const CHUNK: &str = "script";
/// Definitions available to scripts besides Lua's own functions.
const PRELUDE: &str = include_str!("prelude.lua");
/// Largest number of a table's fields that are read.
const FIELDS: usize = 64;
/// Instructions between two checks of the limit.
const GRAIN: u32 = 10_000;
/// Longest result of `string.rep` in bytes.
const LONGEST_STRING: usize = 1 << 20;
/// Largest length of an argument that is read, in bytes.
const LONGEST_ARGUMENT: usize = 256;
/// Levels of the call stack that are searched for a line of the script.
const DEPTH: usize = 100;

const GLOBALS: [&str; 41] = [
    "_G",
    "_VERSION",
    "assert",
    "error",
    "ipairs",
    "math",
    "next",
    "pairs",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    // Defined by the prelude.
    "cPrintf",
    "comment",
    "errmsg",
    "gmatch",
    "gsub",
    "io",
    "msg",
    "os",
    "print",
    "printf",
    "prints",
    "serialize",
    "sleep",
    "strfind",
    "strfmt",
    "strlen",
    "strmatch",
    "strrep",
    "strsub",
    "tconcat",
    "tinsert",
    "tolower",
    "trim",
];
const STRING: [&str; 13] = [
    "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse", "sub",
    "upper",
];
const TABLE: [&str; 6] = ["concat", "insert", "pack", "remove", "sort", "unpack"];

/// Limits of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: usize,
    /// Instructions of Lua.
    pub instructions: u64,
    /// Time.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 64 << 20, instructions: 20_000_000, time: Duration::from_secs(10) }
    }
}

/// The script without a byte order mark; a first line that names an interpreter is blanked.
pub(super) fn text(script: &[u8]) -> Vec<u8> {
    let script = script.strip_prefix(b"\xef\xbb\xbf").unwrap_or(script);
    if !script.starts_with(b"#") {
        return script.to_vec();
    }
    let end = script.iter().position(|byte| *byte == b'\n').unwrap_or(script.len());
    script[end..].to_vec()
}

/// Runs a script to its end and returns its recorded calls.
pub(super) fn run(script: Vec<u8>, limits: Limits) -> Result<Recorder, ImportError> {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("script".to_owned());
    thread
        .spawn(move || {
            let _ = sender.send(run_here(&script, limits));
        })
        .map_err(|error| ImportError::new(None, format!("cannot start a thread for the script: {error}")))?;
    receiver.recv_timeout(limits.time).unwrap_or_else(|error| {
        let problem = match error {
            mpsc::RecvTimeoutError::Timeout => format!(
                "the script has not ended after {} s; a profile is a few dozen calls: take loops and long patterns out",
                limits.time.as_secs_f64()
            ),
            mpsc::RecvTimeoutError::Disconnected => "the Lua interpreter has failed on this script".to_owned(),
        };
        Err(ImportError::new(None, problem))
    })
}

fn run_here(script: &[u8], limits: Limits) -> Result<Recorder, ImportError> {
    let recorder = Rc::new(RefCell::new(Recorder::default()));
    let outcome = Lua::new_with(StdLib::STRING | StdLib::TABLE | StdLib::MATH, LuaOptions::default())
        .and_then(|lua| {
            furnish(&lua, &recorder)?;
            lua.set_memory_limit(limits.memory)?;
            limit_instructions(&lua, limits.instructions)?;
            lua.load(script).set_name(format!("={CHUNK}")).set_mode(ChunkMode::Text).exec()
        });
    let recorder = recorder.borrow().clone();
    match outcome {
        Err(error) if error.downcast_ref::<Exit>().is_none() => {
            let mut error = explain(&error, limits);
            if let Some(at) = recorder.measured() {
                let line = at.0.map_or(String::new(), |line| format!(" in line {line}"));
                error.problem +=
                    &format!("; the script reads counters or port states{line}, which are 0 here");
            }
            Err(error)
        }
        _ => Ok(recorder),
    }
}

/// Marker of a script that ends itself.
#[derive(Debug, thiserror::Error)]
#[error("the script ends")]
struct Exit;

fn limit_instructions(lua: &Lua, instructions: u64) -> mlua::Result<()> {
    let left = std::cell::Cell::new(instructions / u64::from(GRAIN));
    lua.set_hook(HookTriggers::new().every_nth_instruction(GRAIN), move |lua, _| {
        if left.get() == 0 {
            return Err(Error::external(ImportError::new(
                line(lua).or_else(|| lua.inspect_stack(0, |debug| debug.current_line()).flatten()),
                format!("the script goes on for more than {instructions} instructions; a profile is a few dozen calls: take loops out"),
            )));
        }
        left.set(left.get() - 1);
        Ok(VmState::Continue)
    })
}

/// Removes all library functions that are not listed, and adds Pktgen's.
fn furnish(lua: &Lua, recorder: &Rc<RefCell<Recorder>>) -> mlua::Result<()> {
    let globals = lua.globals();
    let calls = pktgen(lua, recorder)?;
    let string: Table = globals.get("string")?;
    string.set("rep", lua.create_function(repeat)?)?;
    lua.load(PRELUDE).set_name("=prelude").call::<()>((
        &calls,
        clock(lua, recorder)?,
        refuse(lua)?,
        exit(lua)?,
    ))?;
    keep(&globals, &GLOBALS)?;
    keep(&string, &STRING)?;
    keep(&globals.get("table")?, &TABLE)?;
    globals.set("require", lua.create_function(|lua, name: Value| require(lua, &name))?)?;
    // Scripts begin by extending these two, which nothing reads.
    globals.set("package", lua.create_table_from([("path", ""), ("cpath", "")])?)?;
    calls.set_metatable(Some(nothing_else(lua, "pktgen", &SHAPING)?))?;
    globals.set("pktgen", calls)
}

/// A function that returns the seconds that the script has slept.
fn clock(lua: &Lua, recorder: &Rc<RefCell<Recorder>>) -> mlua::Result<mlua::Function> {
    let recorder = Rc::clone(recorder);
    lua.create_function(move |_, _: MultiValue| Ok(recorder.borrow().now()))
}

/// A function that ends the script with an error that names its arguments: call and problem.
fn refuse(lua: &Lua) -> mlua::Result<mlua::Function> {
    lua.create_function(|lua, (name, problem): (String, String)| {
        Err::<(), _>(Error::external(ImportError::new(line(lua), format!("{name} {problem}"))))
    })
}

fn exit(lua: &Lua) -> mlua::Result<mlua::Function> {
    lua.create_function(|_, _: MultiValue| Err::<(), _>(Error::external(Exit)))
}

fn keep(table: &Table, names: &[&str]) -> mlua::Result<()> {
    let keys: Vec<String> =
        table.pairs::<String, Value>().map(|pair| pair.map(|(key, _)| key)).collect::<mlua::Result<_>>()?;
    keys.iter()
        .filter(|key| !names.contains(&key.as_str()))
        .try_for_each(|key| table.raw_remove(key.as_str()))
}

fn pktgen(lua: &Lua, recorder: &Rc<RefCell<Recorder>>) -> mlua::Result<Table> {
    let range = lua.create_table()?;
    let names = Ranged::ALL.map(Ranged::name);
    for name in names.into_iter().chain(["hop_limits", "traffic_class"]).chain(RANGE_OTHERS) {
        range.set(name, recorded(lua, recorder, format!("range.{name}"))?)?;
    }
    range.set_metatable(Some(nothing_else(lua, "pktgen.range", &names)?))?;
    let table = lua.create_table()?;
    for name in SHAPING.into_iter().chain(LEFT_OUT) {
        table.set(name, recorded(lua, recorder, name.to_owned())?)?;
    }
    table.set("range", range)?;
    Ok(table)
}

fn recorded(lua: &Lua, recorder: &Rc<RefCell<Recorder>>, name: String) -> mlua::Result<mlua::Function> {
    let recorder = Rc::clone(recorder);
    lua.create_function(move |lua, arguments: MultiValue| {
        let arguments: Vec<Argument> = arguments.iter().map(argument).collect();
        recorder.borrow_mut().call(&name, &arguments, line(lua)).map_err(Error::external)
    })
}

/// A metatable that reports missing calls.
fn nothing_else(lua: &Lua, table: &'static str, names: &[&str]) -> mlua::Result<Table> {
    let names = names.join(", ");
    let missing = lua.create_function(move |lua, (_, key): (Value, Value)| {
        let name = match argument(&key) {
            Argument::Text(name) => name,
            other => other.to_string(),
        };
        Err::<(), _>(Error::external(ImportError::new(
            line(lua),
            format!(
                "{table}.{name} is not among the calls that can be imported ({names}); take it out, or write the profile \
                 by hand (linerate profile generate makes one to begin with)"
            ),
        )))
    })?;
    lua.create_table_from([("__index", missing)])
}

fn require(lua: &Lua, name: &Value) -> mlua::Result<bool> {
    match argument(name) {
        Argument::Text(name) if name == "Pktgen" => Ok(true),
        other => Err(Error::external(ImportError::new(
            line(lua),
            format!(
                "require {other}: only \"Pktgen\" can be required; put what is needed into the script itself"
            ),
        ))),
    }
}

/// Replacement of Lua's own function, whose time is unbounded.
fn repeat(lua: &Lua, (text, times, between): (LuaString, i64, Option<LuaString>)) -> mlua::Result<LuaString> {
    let (text, between) = (text.as_bytes(), between.as_ref().map(LuaString::as_bytes));
    let between: &[u8] = between.as_deref().unwrap_or_default();
    let times = usize::try_from(times).unwrap_or(0);
    let bytes = (text.len() + between.len()).checked_mul(times).filter(|bytes| *bytes <= LONGEST_STRING);
    match bytes {
        None => Err(Error::external(ImportError::new(
            line(lua),
            format!("string.rep: more than {LONGEST_STRING} bytes; no value of a profile is that long"),
        ))),
        Some(0) => lua.create_string(""),
        Some(_) => lua.create_string(vec![&*text; times].join(between)),
    }
}

/// The current line of the script.
fn line(lua: &Lua) -> Option<usize> {
    let of_script = |level| {
        lua.inspect_stack(level, |debug| {
            debug.current_line().filter(|_| debug.source().short_src.is_some_and(|source| source == CHUNK))
        })
    };
    (0..DEPTH).map_while(of_script).flatten().next()
}

fn argument(value: &Value) -> Argument {
    match value {
        Value::Integer(number) => Argument::Number(*number as f64),
        Value::Number(number) => Argument::Number(*number),
        Value::String(text) => {
            let bytes = text.as_bytes();
            Argument::Text(String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_ARGUMENT)]).into_owned())
        }
        Value::Boolean(on) => Argument::Text(if *on { "on" } else { "off" }.to_owned()),
        Value::Table(table) => Argument::Table(fields(table)),
        other => Argument::Other(other.type_name()),
    }
}

/// Named fields of a table, nested tables excluded.
fn fields(table: &Table) -> BTreeMap<String, Argument> {
    let named = |pair: mlua::Result<(Value, Value)>| match pair.ok()? {
        (Value::String(name), value) if !matches!(value, Value::Table(_)) => {
            Some((name.to_string_lossy(), argument(&value)))
        }
        _ => None,
    };
    table.pairs::<Value, Value>().take(FIELDS).filter_map(named).collect()
}

/// Text of a failure: our own messages unchanged, Lua's without their traceback.
fn explain(error: &Error, limits: Limits) -> ImportError {
    if let Some(ours) = error.downcast_ref::<ImportError>() {
        return ours.clone();
    }
    if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Error::MemoryError(_))))
        || matches!(error, Error::MemoryError(_))
    {
        let megabytes = limits.memory >> 20;
        return ImportError::new(
            None,
            format!("the script needs more than {megabytes} MiB of memory; a profile is a few dozen calls"),
        );
    }
    let text = match error {
        Error::SyntaxError { message, .. } => message.clone(),
        Error::RuntimeError(message) => message.clone(),
        other => other.to_string(),
    };
    let text = text.split("\nstack traceback:").next().unwrap_or_default().trim();
    let (line, message) = text
        .strip_prefix(CHUNK)
        .and_then(|rest| rest.strip_prefix(':')?.split_once(':'))
        .and_then(|(line, message)| Some((Some(line.parse().ok()?), message.trim())))
        .unwrap_or((None, text));
    let hint = if message.contains("a nil value (global") || message.contains("a nil value (field") {
        "; a script has the calls of pktgen, string, table and math, and nothing that reaches the system"
    } else {
        ""
    };
    let shown: String = message.chars().take(LONGEST_ARGUMENT).collect();
    let shown = if shown.is_empty() { "an error without words" } else { &shown };
    ImportError::new(line, format!("{shown}{hint}"))
}
