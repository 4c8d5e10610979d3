//! `resched analyze`: what was recorded, as a summary or as tables.

use super::{print, print_json};
use crate::args::Analyze;
use crate::input::Input;
use crate::outcome::{Outcome, say};
use crate::output::Output;
use crate::render::{headline, summary};
use analysis::{Question, TableName};
use anyhow::{Context, Result};

pub(super) fn run(args: &Analyze) -> Result<Outcome> {
    let table = args.table.as_deref().map(str::parse::<TableName>).transpose()?;
    let to = |path| Output::new(path, &["csv", "parquet"], &[args.file.as_path()]);
    let output = args.output.as_deref().map(to).transpose()?;
    let input = Input::open_to_look(&args.file)?;
    let trace = input.trace();
    let Some(table) = table else {
        let summary = analysis::summary(&trace);
        if args.json {
            print_json(&summary)?;
            return Ok(Outcome::Done);
        }
        // What a schedule of a scenario has no event of did not happen in it.
        let asked = if input.scenario.is_some() { &[][..] } else { &Question::ALL[..] };
        let mut gaps = false;
        for missing in asked.iter().filter_map(|q| q.ask(&trace).err()) {
            say(&format!("resched: {}: {missing}", input.name));
            gaps = true;
        }
        let head = headline::of_trace(&input.title(), &trace, &summary);
        print(&format!("{head}\n\n{}", self::summary::text(&summary)))?;
        return Ok(if gaps { Outcome::Inconclusive } else { Outcome::Done });
    };
    let batch = analysis::table(&trace, table).with_context(|| input.name.clone())?;
    match &output {
        Some(output) => write_table(output, &batch)?,
        None if args.json => print_json(&analysis::rows(&batch))?,
        None => {
            let mut out = Vec::new();
            analysis::write_csv(&batch, &mut out)?;
            print(&String::from_utf8_lossy(&out))?;
        }
    }
    Ok(Outcome::Done)
}

/// CSV, unless the ending says otherwise.
fn write_table(to: &Output, batch: &arrow::array::RecordBatch) -> Result<()> {
    let mut table = Vec::new();
    match to.ending() {
        Some("parquet") => analysis::write_parquet(batch, &mut table)?,
        _ => analysis::write_csv(batch, &mut table)?,
    }
    to.write(|out| Ok(out.write_all(&table)?))
}
