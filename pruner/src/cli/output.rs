//! Tables for people, JSON for machines.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, TableStyle, presets};
use indicatif::{ProgressBar, ProgressStyle};

/// Where and how results are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
}

impl Output {
    /// Prints one result: as JSON, or as the text that `text` makes.
    pub(super) fn result(&self, json: &serde_json::Value, text: impl FnOnce() -> String) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut stdout, json)?;
            return writeln!(stdout);
        }
        write!(stdout, "{}", text())
    }

    /// A warning, on stderr.
    pub(super) fn warn(&self, message: &str) {
        if !self.quiet {
            eprintln!("warning: {message}");
        }
    }

    /// A progress bar on stderr; invisible if that is no terminal.
    pub(super) fn progress(&self, len: usize, what: &'static str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(len as u64).with_message(what);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}");
        match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

/// A table whose columns are right-aligned but for the first `text` ones.
pub(super) fn table(header: &[&str], text: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    table_in(presets::NOTHING, header, text, rows)
}

/// The same as Markdown.
pub(super) fn markdown(header: &[&str], text: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    table_in(presets::ASCII_MARKDOWN, header, text, rows)
}

fn table_in(style: TableStyle, header: &[&str], text: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(style).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_cell_alignment(if i < text {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines.concat()
}

/// `0.915` as `91.5 %`.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// `1234567` as `1 234 567`.
pub(super) fn thousands(n: impl Into<u64>) -> String {
    let digits = n.into().to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
