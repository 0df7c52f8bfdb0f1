//! The verdict on a claim.

use serde::Serialize;

use crate::bilingual::Bilingual;

/// How a claim is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It is true.
    Right,
    /// It is true, but imprecise.
    Imprecise,
    /// It is true of requests, but not of connections.
    HalfRight,
    /// The fact is true, the reason is not.
    WrongReason,
    /// It depends on what is compared.
    Depends,
    /// It cannot be true or false.
    Meaningless,
    /// It asks the wrong question.
    WrongFrame,
    /// It is false.
    Wrong,
    /// It was not measured.
    NotMeasured,
}

impl Ruling {
    /// As text, in English and Chinese.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Right => ("right", "正确"),
            Self::Imprecise => ("imprecise", "不精确"),
            Self::HalfRight => {
                ("right for requests, wrong for connections", "对请求而言正确，对连接而言错误")
            }
            Self::WrongReason => ("wrong reason", "理由错误"),
            Self::Depends => ("depends", "视情况而定"),
            Self::Meaningless => ("meaningless", "无意义"),
            Self::WrongFrame => ("wrong frame", "问题提错了"),
            Self::Wrong => ("wrong", "错误"),
            Self::NotMeasured => ("not measured", "未测量"),
        }
    }
}

/// The verdict on one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Its number.
    pub id: &'static str,
    /// The claim in short.
    pub claim: Bilingual,
    /// The ruling.
    pub ruling: Ruling,
    /// The ruling as text.
    pub words: Bilingual,
    /// Whether it follows from a measurement.
    pub is_measured: bool,
    /// Whether it is about one program, the Java demo chatgpt-steam-output: of no use to a reader who
    /// does not know that.
    pub is_about_demo: bool,
    /// What was measured.
    pub evidence: Bilingual,
    /// What is true, with a reference.
    pub truth: Bilingual,
    /// Bytes that show it, as they are on the wire.
    pub example: Option<String>,
    /// The packets that it rests on; `None` if it rests on none, or without a capture.
    pub packets: Option<CitedPackets>,
}

/// The packets in the capture file that a verdict rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CitedPackets {
    /// The numbers of the frames in the file, from 1.
    pub frames: Vec<u64>,
    /// The display filter of Wireshark that finds these frames by their comments.
    pub filter: String,
    /// Display filters that find packets among them by their contents.
    pub searches: Vec<String>,
    /// Pictures of their connections.
    pub ladders: Vec<LadderLink>,
}

/// A picture of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LadderLink {
    /// The file name in `ladders`, without the language and the extension.
    pub name: String,
    /// What it shows.
    pub title: Bilingual,
}

impl Verdict {
    /// The claim's number among the thirty.
    pub fn number(&self) -> &str {
        self.id.rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is a matter of what a program keeps in memory, which no packet shows.
    pub fn is_beyond_packets(&self) -> bool {
        self.number() == "8"
    }
}
