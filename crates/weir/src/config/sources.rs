//! The files that settings are read from, with the version of each, so that changes can be
//! detected.

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

/// Identifies a version of a file; `None` if there is no file. A replaced file has another inode.
pub(crate) type FileStamp = Option<(Option<SystemTime>, u64, u64)>;

impl FileVersion {
    /// The current version of `file`.
    pub(crate) fn now(file: PathBuf) -> Self {
        let mark = mark(&file);
        Self { file, mark }
    }
}

/// The current stamp of a file.
pub(crate) fn mark(file: &Path) -> FileStamp {
    // Follows links: Kubernetes mounts ConfigMaps and Secrets through them.
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

/// Collects the files while settings are read. Each file is stamped before it is read, so that a
/// later change is detected.
#[derive(Debug, Default)]
pub(super) struct Sources(RefCell<Vec<FileVersion>>);

impl Sources {
    /// Records a file before it is opened.
    pub(super) fn note(&self, file: &Path) {
        self.0.borrow_mut().push(FileVersion::now(file.to_path_buf()));
    }

    /// Reads a file that the settings name.
    pub(super) fn read(&self, file: &Path) -> io::Result<String> {
        self.note(file);
        fs::read_to_string(file)
    }

    /// All files, including those that do not exist.
    pub(super) fn into_versions(self) -> Vec<FileVersion> {
        self.0.into_inner()
    }
}
