//! `resched analyze`: what was recorded, as a summary or as tables.

use super::{print, print_json, write_file};
use crate::args::Analyze;
use crate::input::Input;
use crate::outcome::{Outcome, say};
use crate::render::{headline, summary};
use analysis::{Question, TableName};
use anyhow::{Context, Result, bail};
use std::path::Path;

pub(super) fn run(args: &Analyze) -> Result<Outcome> {
    let table = args.table.as_deref().map(str::parse::<TableName>).transpose()?;
    let input = Input::open(&args.file)?;
    let trace = input.trace();
    let Some(table) = table else {
        let summary = analysis::summary(&trace);
        if args.json {
            print_json(&summary)?;
            return Ok(Outcome::Done);
        }
        let mut gaps = false;
        for missing in Question::ALL.iter().filter_map(|q| q.ask(&trace).err()) {
            say(&format!("resched: {}: {missing}", input.name));
            gaps = true;
        }
        let head = headline::of_trace(&input.name, &trace, &summary);
        print(&format!("{head}\n\n{}", self::summary::text(&summary)))?;
        return Ok(if gaps { Outcome::Inconclusive } else { Outcome::Done });
    };
    let batch = analysis::table(&trace, table).with_context(|| input.name.clone())?;
    match &args.output {
        Some(path) => write_table(path, &batch)?,
        None if args.json => print_json(&analysis::rows(&batch))?,
        None => {
            let mut out = Vec::new();
            analysis::write_csv(&batch, &mut out)?;
            print(&String::from_utf8_lossy(&out))?;
        }
    }
    Ok(Outcome::Done)
}

fn write_table(path: &Path, batch: &arrow::array::RecordBatch) -> Result<()> {
    let mut out = Vec::new();
    match path.extension().and_then(|e| e.to_str()) {
        Some("csv") => analysis::write_csv(batch, &mut out)?,
        Some("parquet") => analysis::write_parquet(batch, &mut out)?,
        _ => bail!("{}: tables are written as .csv or .parquet", path.display()),
    }
    write_file(path, &out)
}
