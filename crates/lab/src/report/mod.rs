//! The report of a comparison: a table for the terminal, an HTML page, a JSON document, and an
//! article in Markdown.

pub mod data;
pub mod labels;
mod row;
mod xml;

pub mod article;
pub mod chart;
pub mod page;
pub mod table;
