//! A scenario in place of a recording: how it is told from a trace, and what becomes of it.

use crate::input::Input;
use crate::study::CostChoice;
use anyhow::{Context, Result, bail};
use model::Demand;
use replay::{Options, Policy};
use std::path::Path;
use trace_formats::script::{self, Script};
use trace_formats::{Error, ErrorKind};

/// A scenario that was read.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// As the user named it.
    pub(crate) name: String,
    pub(crate) script: Script,
    /// The comment lines above everything else, as they are written.
    pub(crate) comments: Vec<String>,
    pub(crate) demand: Demand,
}

impl Scenario {
    /// Reads what no reader of traces takes for a trace, for the reason `no_trace`.
    ///
    /// What is called `.sched` is meant to be a scenario; anything else may be whatever it is.
    pub(crate) fn read(name: &str, bytes: &[u8], no_trace: Error) -> Result<Self> {
        let is_called_so = Path::new(name).extension().is_some_and(|e| e == "sched");
        if no_trace.kind != ErrorKind::UnknownFormat {
            return Err(no_trace).context(name.to_owned());
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) if is_called_so => {
                let at = error.valid_up_to();
                bail!("{name}: at byte {at}: this is no UTF-8, and a scenario is: write it again")
            }
            Err(_) => return Err(no_trace).context(name.to_owned()),
        };
        let script = match script::parse(text) {
            Ok(script) => script,
            Err(error) if is_called_so => {
                bail!("{name}: {error}; docs/scenarios.md shows how scenarios are written")
            }
            Err(error) if name == "-" => {
                bail!("{name}: {no_trace}. It is no scenario either: {error}")
            }
            Err(_) => return Err(no_trace).context(name.to_owned()),
        };
        if script.tasks.iter().all(|task| task.steps.is_empty()) {
            if is_called_so {
                bail!(
                    "{name}: no task of this scenario has a step; give it some, as in `L  run 4`"
                );
            }
            return Err(no_trace).context(name.to_owned());
        }
        let comments = text.lines().take_while(|line| line.starts_with('#')).map(str::to_owned);
        let demand = Demand::from_script(&script);
        Ok(Self { name: name.to_owned(), script, comments: comments.collect(), demand })
    }

    /// Refuses one that says itself that it cannot run yet.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(reason) = &self.script.not_yet {
            bail!(
                "{}: cannot run yet: {reason}. Take out its line `not yet:` to try it nevertheless",
                self.name
            );
        }
        Ok(())
    }

    /// Its schedule under `none`, for those who look at a trace.
    pub(crate) fn under_none(self) -> Result<Input> {
        self.check()?;
        let costs = CostChoice::Calibrated.of(&self.demand);
        let options = Options { costs, ..Options::default() };
        let recording = replay::replay(&self.demand, Policy::None, &options).recording;
        Ok(Input { name: self.name, recording, host: None, scenario: Some(self.demand) })
    }
}
