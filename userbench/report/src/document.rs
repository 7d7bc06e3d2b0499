// SPDX-License-Identifier: GPL-2.0

//! A document that can be written as HTML and as Markdown.

use std::fmt::Write;

enum Part {
    Heading(String),
    Paragraph(String),
    /// The first row is the heads of the columns.
    Table(Vec<Vec<String>>),
    /// SVG, and what it shows. Markdown goes without.
    Figure(String, String),
}

/// Text has no markup in it.
#[derive(Default)]
pub struct Document(Vec<Part>);

impl Document {
    pub fn heading(&mut self, text: impl Into<String>) {
        self.0.push(Part::Heading(text.into()));
    }

    pub fn paragraph(&mut self, text: impl Into<String>) {
        self.0.push(Part::Paragraph(text.into()));
    }

    pub fn table<const N: usize>(&mut self, head: [&str; N], rows: Vec<[String; N]>) {
        let head = head.map(String::from).to_vec();
        let rows = rows.into_iter().map(|row| row.to_vec());
        self.0
            .push(Part::Table(std::iter::once(head).chain(rows).collect()));
    }

    pub fn figure(&mut self, svg: String, caption: impl Into<String>) {
        self.0.push(Part::Figure(svg, caption.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Heading(heading) => text += &format!("## {heading}\n"),
                Part::Paragraph(paragraph) => text += &format!("{paragraph}\n"),
                Part::Table(rows) => {
                    for (index, row) in rows.iter().enumerate() {
                        text += &format!("| {} |\n", row.join(" | "));
                        if index == 0 {
                            text += &format!("|{}\n", "---|".repeat(row.len()));
                        }
                    }
                }
                Part::Figure(..) => continue,
            }
            text.push('\n');
        }
        text.trim_end().to_string() + "\n"
    }

    pub fn html(&self) -> String {
        let mut text = format!("{HEAD}<h1>{TITLE}</h1>\n");
        for part in &self.0 {
            // Writing to a string does not fail.
            let _ = match part {
                Part::Heading(heading) => writeln!(text, "<h2>{}</h2>", escape(heading)),
                Part::Paragraph(paragraph) => writeln!(text, "<p>{}</p>", escape(paragraph)),
                Part::Figure(svg, caption) => writeln!(
                    text,
                    "<figure>{svg}<figcaption>{}</figcaption></figure>",
                    escape(caption)
                ),
                Part::Table(rows) => {
                    text += "<div class=\"table\"><table>\n";
                    for (index, row) in rows.iter().enumerate() {
                        let tag = if index == 0 { "th" } else { "td" };
                        let cells = row
                            .iter()
                            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
                        text += &format!("<tr>{}</tr>\n", cells.collect::<String>());
                    }
                    writeln!(text, "</table></div>")
                }
            };
        }
        text + "</body></html>\n"
    }
}

const TITLE: &str = "parcall: what was measured";

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>parcall: what was measured</title>
<style>
body { font: 16px/1.5 sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-size: 0.9rem; margin: 1rem 0; }
.table { overflow-x: auto; }
th, td { text-align: left; padding: 0.2rem 0.8rem; border-bottom: 1px solid #ddd; }
td { font-variant-numeric: tabular-nums; white-space: nowrap; }
th { white-space: nowrap; }
figure { margin: 1.5rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption { font-size: 0.85rem; color: #555; }
</style></head><body>
";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_tables() {
        let mut document = Document::default();
        document.heading("A < B");
        document.table(["size", "gain"], vec![["1M".into(), "2.0".into()]]);
        document.figure("<svg/>".into(), "a plot");
        assert_eq!(
            document.markdown(),
            "## A < B\n\n| size | gain |\n|---|---|\n| 1M | 2.0 |\n"
        );
        let html = document.html();
        assert!(html.contains("<h2>A &lt; B</h2>"));
        assert!(html.contains("<tr><td>1M</td><td>2.0</td></tr>"));
        assert!(html.contains("<figure><svg/><figcaption>a plot"));
    }
}
