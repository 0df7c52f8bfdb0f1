//! Text styles, and their escape sequences (ECMA-48, SGR).

/// The terminal's capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Weights and colours.
    Colours,
    /// Weights only: `NO_COLOR` is set.
    Weights,
}

/// Colours of the 16-colour palette, which each user adapts to a dark or a light terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerminalColour {
    Red,
    Green,
    Yellow,
    Magenta,
    Cyan,
}

/// Weights and a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextStyle {
    weights: u8,
    colour: Option<TerminalColour>,
}

/// The weights, each as its bit and its SGR parameter.
const BOLD: (u8, u8) = (1, 1);
const DIM: (u8, u8) = (2, 2);
const ITALIC: (u8, u8) = (4, 3);
const UNDERLINE: (u8, u8) = (8, 4);
const STRIKE: (u8, u8) = (16, 9);

impl TextStyle {
    /// Plain text.
    pub(crate) const PLAIN: Self = Self { weights: 0, colour: None };

    pub(crate) const fn bold(self) -> Self {
        self.with(BOLD)
    }

    pub(crate) const fn dim(self) -> Self {
        self.with(DIM)
    }

    pub(crate) const fn italic(self) -> Self {
        self.with(ITALIC)
    }

    pub(crate) const fn underline(self) -> Self {
        self.with(UNDERLINE)
    }

    pub(crate) const fn strike(self) -> Self {
        self.with(STRIKE)
    }

    pub(crate) const fn colour(self, colour: TerminalColour) -> Self {
        Self { weights: self.weights, colour: Some(colour) }
    }

    const fn with(self, (bit, _): (u8, u8)) -> Self {
        Self { weights: self.weights | bit, colour: self.colour }
    }

    /// `text` in this style; unchanged if the style is plain.
    pub(crate) fn paint(self, text: &str, paint: Paint) -> String {
        let mut parameters: Vec<u8> = Vec::new();
        for (bit, parameter) in [BOLD, DIM, ITALIC, UNDERLINE, STRIKE] {
            if self.weights & bit != 0 {
                parameters.push(parameter);
            }
        }
        if let (Some(colour), Paint::Colours) = (self.colour, paint) {
            parameters.push(match colour {
                TerminalColour::Red => 31,
                TerminalColour::Green => 32,
                TerminalColour::Yellow => 33,
                TerminalColour::Magenta => 35,
                TerminalColour::Cyan => 36,
            });
        }
        if parameters.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        let parameters: Vec<String> = parameters.iter().map(u8::to_string).collect();
        format!("\x1b[{}m{text}\x1b[0m", parameters.join(";"))
    }
}

/// The options of rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RenderOptions {
    /// The width of the terminal.
    pub(crate) columns: usize,
    pub(crate) paint: Paint,
    /// The style that all others are based on.
    pub(crate) base: TextStyle,
}
