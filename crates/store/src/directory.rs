//! The data directory: created, or refused with an error that states the remedy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The name of the database in the data directory.
pub const DATABASE: &str = "weir.db";

/// Why a directory cannot hold Weir's data.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// The path, or a parent of it, is not a directory.
    #[error("{} is not a directory: move it away, or choose another directory with --data", path.display())]
    NotADirectory {
        /// The path that is not a directory.
        path: PathBuf,
    },
    /// The file system is read-only.
    #[error("{} cannot be written: its file system is read-only; choose another directory with --data", path.display())]
    ReadOnly {
        /// The directory, or the one it was to be created in.
        path: PathBuf,
    },
    /// This user may not write there.
    #[error("{} cannot be written by this user; change its owner to the user that runs weir, or choose another directory with --data", path.display())]
    Forbidden {
        /// The directory, or the one it was to be created in.
        path: PathBuf,
    },
    /// Other users may write to it: anyone who creates a `keys.json` there becomes an admin.
    #[error(
        "{} may be written by other users (mode {mode:03o}), who could add a key of their own: \
         chmod go-w {}, or choose another directory with --data",
        path.display(), path.display()
    )]
    Shared {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Any other error.
    #[error("{} cannot be created or opened", path.display())]
    Other {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Ensures that `path` is a directory that this process can write and no other user can. Missing
/// directories are created for this user alone (0700); existing ones keep their mode.
pub fn prepare(path: &Path) -> Result<(), DirectoryError> {
    if let Some(blocking_file) = blocking_file(path) {
        return Err(DirectoryError::NotADirectory { path: blocking_file });
    }
    create(path).map_err(|source| explain(path, &nearest_existing(path), source))?;
    writable(path).map_err(|source| explain(path, path, source))?;
    private(path)
}

/// The first component of `path` that exists and is not a directory.
fn blocking_file(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .find(|ancestor| fs::metadata(ancestor).is_ok_and(|metadata| !metadata.is_dir()))
        .map(Path::to_path_buf)
}

fn nearest_existing(path: &Path) -> PathBuf {
    // If no component of a relative path exists, it was to be created in the current directory.
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new(".")).to_path_buf()
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<()> {
    // On Windows a user's application data is private to the user.
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn writable(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};

    access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
}

/// Refuses a directory that other users may write. Its group may, if the directory belongs to
/// another user and to one of our groups: Kubernetes hands a volume to a process this way
/// (`fsGroup`).
#[cfg(unix)]
fn private(path: &Path) -> Result<(), DirectoryError> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::metadata(path).map_err(|source| explain(path, path, source))?;
    let mode = metadata.mode() & 0o7777;
    let is_handed_over = metadata.uid() != rustix::process::geteuid().as_raw()
        && metadata.gid() == rustix::process::getegid().as_raw();
    let foreign = if is_handed_over { 0o002 } else { 0o022 };
    if mode & foreign == 0 {
        Ok(())
    } else {
        Err(DirectoryError::Shared { path: path.to_path_buf(), mode })
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
fn private(_: &Path) -> Result<(), DirectoryError> {
    // On Windows a user's application data is private to the user.
    Ok(())
}

#[cfg(not(unix))]
fn writable(path: &Path) -> io::Result<()> {
    fs::metadata(path).map(|_| ())
}

/// `blocking_file` is the directory that failed: the requested one, or the one it was to be created
/// in.
fn explain(path: &Path, blocking_file: &Path, source: io::Error) -> DirectoryError {
    if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
        return DirectoryError::ReadOnly { path: blocking_file.to_path_buf() };
    }
    if source.kind() == io::ErrorKind::PermissionDenied {
        return DirectoryError::Forbidden { path: blocking_file.to_path_buf() };
    }
    DirectoryError::Other { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_directories_are_created_for_this_user_alone()
    -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("a/b");
        prepare(&path)?;
        prepare(&path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;

            assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o700);
        }
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_writable_by_others_is_rejected() -> Result<(), Box<dyn std::error::Error>> {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir()?;
        for (mode, expected) in [
            (0o700, true),
            (0o755, true),
            (0o770, false),
            (0o775, false),
            (0o777, false),
            (0o1777, false),
            (0o702, false),
        ] {
            fs::set_permissions(root.path(), fs::Permissions::from_mode(mode))?;
            let refused = prepare(root.path()).err().map(|error| error.to_string());
            assert_eq!(refused.is_none(), expected, "{mode:o}: {refused:?}");
            assert!(
                refused.is_none_or(|text| text.contains("chmod go-w") && text.contains("--data")),
                "{mode:o}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_file_in_the_way_is_named() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let file = root.path().join("file");
        fs::write(&file, "")?;
        for path in [file.clone(), file.join("below/it")] {
            let error = prepare(&path).err().map(|error| error.to_string());
            assert_eq!(
                error,
                Some(format!(
                    "{} is not a directory: move it away, or choose another directory with --data",
                    file.display()
                ))
            );
        }
        Ok(())
    }

    #[test]
    fn errors_state_the_remedy() {
        let forbidden = explain(
            Path::new("/data/weir"),
            Path::new("/data"),
            io::ErrorKind::PermissionDenied.into(),
        )
        .to_string();
        assert!(forbidden.contains("--data"), "{forbidden}");
        let read_only = explain(
            Path::new("/data/weir"),
            Path::new("/data"),
            io::ErrorKind::ReadOnlyFilesystem.into(),
        )
        .to_string();
        assert!(read_only.contains("read-only"), "{read_only}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_unwritable_parent_is_named() {
        let error = prepare(Path::new("/proc/weir"))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.starts_with("/proc"), "{error}");
    }
}
