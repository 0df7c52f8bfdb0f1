//! The report of a comparison: a table for the terminal, an HTML page, a JSON document, and an
//! article in Markdown.

pub mod data;
pub mod labels;
mod row;
mod summary;
mod xml;

pub mod advice;
mod demo;

mod packets;

pub mod article;
pub mod chart;
pub mod handshake;
mod html;
pub mod page;
mod page_cells;
mod page_style;
pub mod table;
