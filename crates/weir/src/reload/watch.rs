//! Detects changes of the files that settings are read from.

use crate::config::{FileStamp, FileVersion, mark};

/// The watched files and their versions.
pub(super) struct FileWatch {
    /// The versions last read or reported.
    known: Vec<FileVersion>,
    /// The versions at the last check.
    seen: Vec<FileStamp>,
}

impl FileWatch {
    /// Watches for changes relative to these versions.
    pub(super) fn new(known: Vec<FileVersion>) -> Self {
        let seen = known.iter().map(|version| version.mark).collect();
        Self { known, seen }
    }

    /// Whether the files have changed, and are stable since the last check. True once for each
    /// change.
    pub(super) fn has_changed(&mut self) -> bool {
        let marks: Vec<FileStamp> = self.known.iter().map(|version| mark(&version.file)).collect();
        let rests = marks == self.seen;
        self.seen = marks;
        if !rests || self.known.iter().map(|version| &version.mark).eq(&self.seen) {
            return false;
        }
        for (version, mark) in self.known.iter_mut().zip(&self.seen) {
            version.mark = *mark;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_reported_once_and_when_it_is_stable() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("weir.toml");
        let mut watch = FileWatch::new(vec![FileVersion::now(file.clone())]);
        assert!(!watch.has_changed());
        fs::write(&file, "a")?;
        assert!(!watch.has_changed(), "it may not be whole");
        fs::write(&file, "ab")?;
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        assert!(!watch.has_changed());
        fs::remove_file(&file)?;
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        Ok(())
    }

    #[test]
    fn a_change_after_reading_is_a_change() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("a.key");
        let read = FileVersion::now(file.clone());
        fs::write(&file, "sk-new")?;
        let mut watch = FileWatch::new(vec![read]);
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        Ok(())
    }
}
