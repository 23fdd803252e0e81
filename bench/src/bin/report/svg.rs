//! What charts are made of. They are read on light and on dark ground, so colours come from a style that follows the reader's.

use std::fmt::{Display, Write};

/// How many series have a colour of their own.
pub(crate) const COLOURS: usize = 8;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}.faint{fill:#57606a}.grid{stroke:#d0d7de}.spread{stroke:#57606a}\
.f0{fill:#0969da}.f1{fill:#cf222e}.f2{fill:#1a7f37}.f3{fill:#9a6700}.f4{fill:#8250df}.f5{fill:#bc4c00}.f6{fill:#bf3989}.f7{fill:#57606a}\
.l{fill:none;stroke-width:2}\
.s0{stroke:#0969da}.s1{stroke:#cf222e}.s2{stroke:#1a7f37}.s3{stroke:#9a6700}.s4{stroke:#8250df}.s5{stroke:#bc4c00}.s6{stroke:#bf3989}.s7{stroke:#57606a}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.grid{stroke:#3d444d}.spread{stroke:#9198a1}\
.f0{fill:#4493f8}.f1{fill:#f85149}.f2{fill:#3fb950}.f3{fill:#d29922}.f4{fill:#ab7df8}.f5{fill:#db6d28}.f6{fill:#db61a2}.f7{fill:#9198a1}\
.s0{stroke:#4493f8}.s1{stroke:#f85149}.s2{stroke:#3fb950}.s3{stroke:#d29922}.s4{stroke:#ab7df8}.s5{stroke:#db6d28}.s6{stroke:#db61a2}.s7{stroke:#9198a1}}";

/// A picture under way.
pub(crate) struct Svg {
    body: String,
}

/// Where a text has its place.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(crate) const fn new() -> Self {
        let body = String::new();
        Self { body }
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes everything");
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: impl Display) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.to_string().replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    pub(crate) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: usize) {
        let colour = colour % COLOURS;
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" class="f{colour}"/>"#
        ));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.add(format_args!(
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" class="{class}"/>"#,
            from.0, from.1, to.0, to.1
        ));
    }

    pub(crate) fn path(&mut self, points: &[(f64, f64)], colour: usize) {
        let colour = colour % COLOURS;
        let list: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.add(format_args!(
            r#"<polyline points="{}" class="l s{colour}"/>"#,
            list.join(" ")
        ));
        for (x, y) in points {
            self.add(format_args!(
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" class="f{colour}"/>"#
            ));
        }
    }

    /// The whole picture.
    pub(crate) fn finish(self, width: f64, height: f64, title: &str) -> String {
        let title = title.replace('&', "&amp;").replace('<', "&lt;");
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n{}</svg>\n",
            self.body
        )
    }
}
