//! The files that settings are read from, and which version of each was read, so that somebody can tell when there is another.

use std::cell::RefCell;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    pub(crate) file: PathBuf,
    pub(crate) mark: FileStamp,
}

/// What tells one version of a file from the next; `None` where there is none. A file that is replaced has another inode.
pub(crate) type FileStamp = Option<(Option<SystemTime>, u64, u64)>;

impl FileVersion {
    /// The version of `file` that there is now.
    pub(crate) fn now(file: PathBuf) -> Self {
        let mark = mark(&file);
        Self { file, mark }
    }
}

/// What a file looks like now.
pub(crate) fn mark(file: &Path) -> FileStamp {
    // It follows links, as those under which Kubernetes mounts a ConfigMap or a Secret.
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

/// What is read, while it is read. Each file is looked at first: what changes behind that is found to be another version.
#[derive(Debug, Default)]
pub(super) struct Sources(RefCell<Vec<FileVersion>>);

impl Sources {
    /// Notes a file that is about to be looked for.
    pub(super) fn note(&self, file: &Path) {
        self.0.borrow_mut().push(FileVersion::now(file.to_path_buf()));
    }

    /// Reads a file that the settings name.
    pub(super) fn read(&self, file: &Path) -> io::Result<String> {
        self.note(file);
        fs::read_to_string(file)
    }

    /// All that was looked for, also what was not there.
    pub(super) fn into_versions(self) -> Vec<FileVersion> {
        self.0.into_inner()
    }
}
