//! A claim, what was measured, and what follows.

use serde::Serialize;

/// Something in two languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bilingual {
    /// English.
    pub en: String,
    /// Simplified Chinese.
    pub zh: String,
}

impl Bilingual {
    /// Both.
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { en: en.into(), zh: zh.into() }
    }
}

/// What is to be said of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It is so.
    Right,
    /// So far as it goes, it is so.
    Imprecise,
    /// Of requests, but not of connections.
    HalfRight,
    /// The thing is there, for another reason.
    WrongReason,
    /// It depends on what is compared.
    Depends,
    /// It says nothing that could be right or wrong.
    Meaningless,
    /// It asks the wrong question.
    WrongFrame,
    /// It is not so.
    Wrong,
    /// Not measured here.
    NotMeasured,
}

impl Ruling {
    /// In words.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Right => ("right", "正确"),
            Self::Imprecise => ("imprecise", "不精确"),
            Self::HalfRight => ("right for requests, wrong for connections", "对请求而言正确，对连接而言错误"),
            Self::WrongReason => ("wrong reason", "理由错误"),
            Self::Depends => ("depends", "视情况而定"),
            Self::Meaningless => ("meaningless", "无意义"),
            Self::WrongFrame => ("wrong frame", "问题提错了"),
            Self::Wrong => ("wrong", "错误"),
            Self::NotMeasured => ("not measured", "未测量"),
        }
    }
}

/// What follows from the evidence for one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Its number.
    pub id: &'static str,
    /// The claim, in short.
    pub claim: Bilingual,
    /// What is to be said of it.
    pub ruling: Ruling,
    /// The same in words.
    pub words: Bilingual,
    /// Whether it follows from what was measured.
    pub is_measured: bool,
    /// What was measured.
    pub evidence: Bilingual,
    /// What is so, and where that is written.
    pub truth: Bilingual,
}
