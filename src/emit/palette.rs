//! The colours of text on a terminal.

use anstyle::{Ansi256Color, Color, Style};

use crate::query::Happened;
use crate::wording::line::Emphasis;

// Use only colours from 16 to 255, because terminals redefine the first 16 colours.
const BLACK: u8 = 16;
const WHITE: u8 = 231;
const DARK_GREEN: u8 = 22;
const BLUE: u8 = 25;
const DARK_MAGENTA: u8 = 90;
const DARK_RED: u8 = 124;
const YELLOW: u8 = 220;
const GREY: u8 = 240;

/// Returns a style that sets both the text colour and the background colour, because no text colour
/// is legible on all backgrounds.
const fn on(foreground: u8, background: u8) -> Style {
    Style::new()
        .fg_color(Some(Color::Ansi256(Ansi256Color(foreground))))
        .bg_color(Some(Color::Ansi256(Ansi256Color(background))))
}

/// Returns the style for text with this emphasis.
pub const fn style(emphasis: Emphasis) -> Style {
    match emphasis {
        Emphasis::Plain | Emphasis::Command => Style::new(),
        Emphasis::Name => Style::new().bold(),
        Emphasis::Dead => on(WHITE, DARK_RED).bold(),
        Emphasis::Warning => on(BLACK, YELLOW),
        Emphasis::Entered => on(WHITE, BLUE),
        Emphasis::Inferred => on(WHITE, GREY),
    }
}

/// Returns the style for the character that marks a change, such as `+`.
pub const fn change(happened: Happened) -> Style {
    match happened {
        Happened::Came => on(WHITE, DARK_GREEN),
        Happened::Went => on(WHITE, DARK_RED),
        Happened::Hidden => on(WHITE, DARK_MAGENTA),
        Happened::Changed => on(BLACK, YELLOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the relative luminance (WCAG 2.1) of a colour.
    fn luminance(color: Color) -> f64 {
        let Color::Ansi256(Ansi256Color(index @ 16..)) = color else {
            panic!("{color:?} looks different on every terminal")
        };
        let channels = match index - 16 {
            cube @ 0..216 => [cube / 36, cube / 6 % 6, cube % 6]
                .map(|step| if step == 0 { 0 } else { 55 + 40 * step }),
            grey => [8 + 10 * (grey - 216); 3],
        };
        let linear = channels.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.03928 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn styles_with_a_meaning_are_legible_on_every_background() {
        let meanings = [Emphasis::Dead, Emphasis::Warning, Emphasis::Entered, Emphasis::Inferred];
        let changes = [Happened::Came, Happened::Went, Happened::Hidden, Happened::Changed];
        for style in meanings.map(style).into_iter().chain(changes.map(change)) {
            let colors = [style.get_fg_color(), style.get_bg_color()].map(Option::unwrap);
            let [one, other] = colors.map(|color| luminance(color) + 0.05);
            let contrast = f64::max(one, other) / f64::min(one, other);
            assert!(contrast >= 4.5, "{style:?}: {contrast}");
        }
        for emphasis in [Emphasis::Plain, Emphasis::Name, Emphasis::Command] {
            let style = style(emphasis);
            assert_eq!((style.get_fg_color(), style.get_bg_color()), (None, None));
        }
    }

    #[test]
    fn no_text_colour_is_legible_on_every_background() {
        // Black, white, and the backgrounds of the two Solarized themes.
        let grounds = [[0x00_u8; 3], [0xff; 3], [0x00, 0x2b, 0x36], [0xfd, 0xf6, 0xe3]];
        let grounds = grounds.map(|channels| {
            let linear = channels.map(|channel| (f64::from(channel) / 255.0).powf(2.2));
            0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05
        });
        let legible = |luminance: f64| {
            grounds
                .iter()
                .all(|&ground| f64::max(luminance, ground) / f64::min(luminance, ground) >= 4.5)
        };
        assert!(!(0..=100).any(|step| legible(0.05 + f64::from(step) / 100.0)));
    }
}
