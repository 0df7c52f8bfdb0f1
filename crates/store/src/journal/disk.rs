//! The file system operations that the journal needs, and their implementation in a directory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::JournalError;
use crate::directory;

/// The extension of a segment's name.
const EXTENSION: &str = "journal";

/// Stores numbered segments.
pub trait SegmentDisk: Send + Sync + 'static {
    /// Locks out other processes until the result is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process holds the lock.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;

    /// The numbers of all segments, in any order.
    ///
    /// # Errors
    /// An error of the operating system.
    fn list(&self) -> io::Result<Vec<u32>>;

    /// Creates a segment.
    ///
    /// # Errors
    /// An error of the operating system, or the segment exists.
    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>>;

    /// Opens a segment.
    ///
    /// # Errors
    /// An error of the operating system, or the segment does not exist.
    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>>;

    /// Removes a segment.
    ///
    /// # Errors
    /// An error of the operating system, or the segment does not exist.
    fn remove(&self, number: u32) -> io::Result<()>;

    /// The free bytes, if the system reports them.
    fn room(&self) -> Option<u64> {
        None
    }

    /// Makes created and removed names survive a loss of power.
    ///
    /// # Errors
    /// An error of the operating system.
    fn sync(&self) -> io::Result<()>;

    /// The path of a segment, for messages; without a number, of the directory.
    fn path(&self, number: Option<u32>) -> PathBuf;
}

/// One segment. Written bytes survive the process, but not a loss of power before [`Self::sync`].
pub trait SegmentFile: Send + Sync {
    /// Writes at `offset`, possibly less than all.
    ///
    /// # Errors
    /// An error of the operating system.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads from `offset`, possibly less than all; nothing at the end.
    ///
    /// # Errors
    /// An error of the operating system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes written bytes survive a loss of power.
    ///
    /// # Errors
    /// An error of the operating system; any part of the bytes may then be lost.
    fn sync(&self) -> io::Result<()>;

    /// Truncates the segment to `length`.
    ///
    /// # Errors
    /// An error of the operating system.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// An error of the operating system.
    fn length(&self) -> io::Result<u64>;
}

/// Writes all bytes at `offset`.
pub(super) fn write_all(
    segment: &dyn SegmentFile,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match segment.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buffer` from `offset` up to the end of the file. Returns the number of bytes read.
pub(super) fn read_full(
    segment: &dyn SegmentFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match segment.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Segments as files of a directory, readable only by their owner.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`, created if missing.
    ///
    /// # Errors
    /// It cannot be created or written.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        directory::prepare(path)?;
        Ok(Self { path: path.to_path_buf() })
    }
}

impl SegmentDisk for Directory {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let file = private().create(true).truncate(false).open(self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let number: Option<u32> =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            // A name that differs in any way is not a segment.
            numbers.extend(number.filter(|number| self.path(Some(*number)) == path));
        }
        Ok(numbers)
    }

    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(OnDisk(private().read(true).create_new(true).open(self.path(Some(number)))?)))
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(OnDisk(private().read(true).open(self.path(Some(number)))?)))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        fs::remove_file(self.path(Some(number)))
    }

    #[cfg(unix)]
    fn room(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.path).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    #[cfg(unix)]
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync(&self) -> io::Result<()> {
        // Windows cannot open a directory as a file; NTFS journals its entries.
        Ok(())
    }

    fn path(&self, number: Option<u32>) -> PathBuf {
        number.map_or_else(
            || self.path.clone(),
            |number| self.path.join(format!("{number:010}.{EXTENSION}")),
        )
    }
}

/// Options for a file that only its owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        options.mode(0o600);
    }
    options
}

struct OnDisk(File);

impl SegmentFile for OnDisk {
    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
