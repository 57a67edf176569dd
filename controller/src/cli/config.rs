//! `config`: shows or saves the experiment document in force.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::output::{print, say};
use super::spec_args::SpecArgs;
use linerate_experiment::Experiment;
use linerate_results::store::atomic::replace_file;

const EXAMPLES: &str = "\
Examples:
  Every field with its default:
    linerate config show
  From the options of a run to a document, and back:
    linerate config save two-pairs.yaml -n 2 --platform kubernetes --same-node --cpu 4
    linerate run two-pairs.yaml";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ConfigCommand {
    /// Print the effective document: a file or the built-in one, with these options and every default
    Show {
        #[command(flatten)]
        source: Source,
    },
    /// Write the effective document to a new file
    Save {
        /// The file to write
        #[arg(value_name = "TO")]
        to: PathBuf,
        /// Replace an existing file
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        source: Source,
    },
}

#[derive(Debug, Args)]
pub(super) struct Source {
    /// Experiment document (YAML) [default: the built-in first-light.yaml]
    #[arg(long = "from", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    spec: Box<SpecArgs>,
}

impl Source {
    fn document(&self) -> anyhow::Result<String> {
        Ok(Experiment::load(self.file.as_deref(), &self.spec.overrides())?.to_yaml()?)
    }
}

pub(super) fn dispatch(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Show { source } => Ok(print(source.document()?.trim_end())?),
        ConfigCommand::Save { to, force, source } => {
            let text = source.document()?;
            if !force && to.exists() {
                anyhow::bail!(
                    "{} is there already; give another name, or --force to replace it",
                    to.display()
                );
            }
            let name =
                to.file_name().and_then(|name| name.to_str()).context("the name of a file is needed")?;
            let directory =
                to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            replace_file(directory, name, text.as_bytes())
                .map_err(|error| error.chosen_by("the argument TO"))?;
            say(&format!("wrote {}", to.display()));
            Ok(())
        }
    }
}
