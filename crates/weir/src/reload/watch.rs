//! Whether files have changed since they were last looked at.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What tells one version of a file from the next; `None` where there is none. A file that is replaced has another inode.
type Mark = Option<(Option<SystemTime>, u64, u64)>;

/// Files, and what they looked like.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    /// What was last reported.
    known: Vec<Mark>,
    /// What was last seen.
    seen: Vec<Mark>,
}

impl Watch {
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let marks: Vec<Mark> = files.iter().map(|file| mark(file)).collect();
        Self { files, known: marks.clone(), seen: marks }
    }

    /// Whether they have changed, and rest since the last look. Says so once for each change.
    pub(super) fn has_changed(&mut self) -> bool {
        let marks: Vec<Mark> = self.files.iter().map(|file| mark(file)).collect();
        let rests = marks == self.seen;
        self.seen = marks;
        if !rests || self.seen == self.known {
            return false;
        }
        self.known.clone_from(&self.seen);
        true
    }
}

fn mark(file: &Path) -> Mark {
    // It follows links, as those under which Kubernetes mounts a ConfigMap.
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok(), metadata.len(), inode(&metadata)))
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_said_once_and_when_it_rests() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("weir.toml");
        let mut watch = Watch::new(vec![file.clone()]);
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
}
