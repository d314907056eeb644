// Owns why a disk could not be measured, and the line that says so: what was wrong, what was seen, what to do.

import Glibc
package import LogStorage

package enum ProbeError: Error, Sendable, Equatable {
  case noSuchDirectory(path: String)
  case notADirectory(path: String)
  case notWritable(path: String, reason: String)
  case tooFull(path: String, freeBytes: Int, neededBytes: Int)
  /// The disk filled while it was measured.
  case filled(operation: String)
  /// The file system has no `fallocate`.
  case cannotReserve(path: String)
  case system(operation: String, path: String, code: Int32)
  case log(StorageError)

  /// What a failed system call on `path` means.
  static func fromSystem(_ code: Int32, operation: String, path: String) -> ProbeError {
    switch code {
    case ENOENT: .noSuchDirectory(path: path)
    case ENOTDIR: .notADirectory(path: path)
    case EACCES, EPERM, EROFS: .notWritable(path: path, reason: String(cString: strerror(code)))
    case ENOSPC, EDQUOT, EFBIG: .filled(operation: "\(operation) \(path)")
    default: .system(operation: operation, path: path, code: code)
    }
  }
}

extension ProbeError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .noSuchDirectory(let path):
      "there is no directory \(path): name one that is there, on the disk in question"
    case .notADirectory(let path):
      "\(path) is not a directory: name a directory on the disk in question"
    case .notWritable(let path, let reason):
      "cannot write to \(path): \(reason): give this user the right to write there, or name another directory of "
        + "that disk"
    case .tooFull(let path, let free, let needed):
      "the disk of \(path) has \(free >> 20) MiB free and measuring takes \(needed >> 20) MiB: free some space, or "
        + "measure less with --size, --writers or --commits"
    case .filled(let operation):
      "the disk is full or the quota is used up (\(operation)): free some space and measure again"
    case .cannotReserve(let path):
      "the file system of \(path) takes no blocks ahead (fallocate): leave the layout \"reserved\" out"
    case .system(let operation, let path, let code):
      "\(operation) \(path) failed: \(String(cString: strerror(code))): look at the kernel's log for what the disk says"
    case .log(let error):
      "the log that was to be measured failed: \(error)"
    }
  }
}
