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
}

impl Verdict {
    /// The claim's number among the thirty.
    pub fn number(&self) -> &str {
        self.id.rsplit('.').next().unwrap_or_default()
    }
}
