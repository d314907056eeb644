// Owns every way in which the log can refuse or fail, and the line that tells an operator of it: what was wrong, what
// was seen, what to do next.
//
// No error of this room is to be retried in place. After a failed flush the kernel may have marked the lost page as
// clean, and a second flush would then succeed without writing it.

import CLMDB
import Glibc
package import RaftCore

package enum StorageError: Error, Sendable, Equatable {
  /// The path exists and is something other than a directory.
  case notADirectory(path: String)
  /// The directory or a file in it cannot be made or written.
  case notWritable(path: String, reason: String)
  /// Another process (or another opening in this one) has the directory.
  case inUse(path: String, processID: Int32?)
  case otherCluster(path: String, found: Identity, expected: Identity)
  case otherNode(path: String, found: Identity, expected: Identity)
  case otherIncarnation(path: String, found: Identity, expected: Identity)
  /// A later version of this program wrote the directory.
  case newerFormat(path: String, found: UInt32, supported: UInt32)
  /// There is a `data.mdb`, but it is not a log of this program.
  case notALog(path: String, reason: String)
  case corruptIdentity(path: String, reason: String)
  case corruptHardState(reason: String)
  case corruptRecord(index: Index, reason: String)
  /// LMDB's own pages contradict each other, or the file is shorter than they say.
  case corruptFile(reason: String)
  /// Entries were asked for that the log does not have.
  case missingEntries(from: Index, first: Index, last: Index)
  /// Entries that may have been acknowledged are gone, and the opening was told not to go on without them.
  case damaged(path: String, Damage)
  case corruptSnapshot(path: String, reason: String)
  /// The snapshot was removed, or never was here.
  case missingSnapshot(Index)
  /// A copy goes to a place where nothing is.
  case notEmpty(path: String)
  /// A forced new cluster needs another cluster's id and a higher incarnation.
  case notNewer(path: String, found: Identity, wanted: Identity)
  case mapFull(usedBytes: Int, maximumBytes: Int)
  case diskFull(operation: String)
  case closed
  case system(operation: String, path: String, code: Int32)
  case lmdb(operation: String, code: Int32)
}

extension StorageError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .notADirectory(let path):
      "the data directory \(path) is a file: name a directory, or a path that does not exist yet"
    case .notWritable(let path, let reason):
      "cannot write to \(path): \(reason): give this user the right to write there, or name another directory"
    case .inUse(let path, let processID):
      "the data directory \(path) is in use by \(processID.map { "process \($0)" } ?? "another process"): "
        + "stop that one first, or name another directory"
    case .otherCluster(let path, let found, let expected):
      Self.mismatch(path, found, expected, "this is another cluster's directory")
    case .otherNode(let path, let found, let expected):
      Self.mismatch(path, found, expected, "this is another node's directory")
    case .otherIncarnation(let path, let found, let expected):
      Self.mismatch(path, found, expected, "the cluster was restored or made anew since")
    case .newerFormat(let path, let found, let supported):
      "the data directory \(path) has format \(found) and this version reads up to \(supported): "
        + "start it with the newer version that wrote it"
    case .notALog(let path, let reason):
      "\(path) is not a log of this program: \(reason): name another directory"
    case .missingEntries(let from, let first, let last):
      "\(from) was asked for, but the log holds \(first) to \(last)"
    case .notEmpty(let path):
      "\(path) is there already: name a path that does not exist yet, or remove what is there"
    case .notNewer(let path, let found, let wanted):
      "the data directory \(path) belongs to \(found), and \(wanted) is not newer: "
        + "a forced new cluster needs an id of its own and a higher incarnation"
    case .closed:
      "the log is closed"
    case .missingSnapshot(let index):
      "the snapshot at \(index) is not there (any more)"
    case .corruptIdentity, .corruptHardState, .corruptRecord, .corruptFile, .corruptSnapshot, .damaged:
      corruptionDescription
    case .mapFull, .diskFull, .system, .lmdb:
      failureDescription
    }
  }

  private static func mismatch(_ path: String, _ found: Identity, _ expected: Identity, _ why: String) -> String {
    "the data directory \(path) belongs to \(found), and this is \(expected): \(why): "
      + "name the right directory, or an empty one to join as a new node"
  }

  private var corruptionDescription: String {
    let remedy = "nothing was cut: restore this node from its peers or from a backup, and check the disk"
    let replacing =
      "this node may have voted and does not know for whom: replace it (remove it from the cluster, and add it again "
      + "with an empty directory), and check the disk"
    return switch self {
    case .corruptIdentity(let path, let reason): "the identity in \(path) is corrupt: \(reason): \(remedy)"
    case .corruptHardState(let reason): "the stored term and vote are corrupt: \(reason): \(replacing)"
    case .corruptSnapshot(let path, let reason): "the snapshot \(path) is corrupt: \(reason): check the disk"
    case .damaged(let path, let damage):
      "the log in \(path) has lost \(damage.firstLost) to \(damage.lastLost), and there is no other node to get them "
        + "from: \(remedy)"
    case .corruptRecord(let index, let reason): "the log is corrupt at \(index): \(reason): \(remedy)"
    case .corruptFile(let reason): "the log's file is corrupt: \(reason): \(replacing)"
    default: preconditionFailure("not a corruption")
    }
  }

  private var failureDescription: String {
    switch self {
    case .mapFull(let used, let maximum):
      "the log is full: \(used) of at most \(maximum) bytes are used: "
        + "raise the log's limit and start again, or compact"
    case .diskFull(let operation):
      "the disk is full (\(operation)): free some space and start again"
    case .system(let operation, let path, let code):
      "\(operation) of \(path) failed: \(Self.text(ofSystemError: code)): "
        + "the process must end, since what is on the disk is unknown until it is read again"
    case .lmdb(let operation, let code):
      "\(operation) failed: \(String(cString: mdb_strerror(code))) (\(code)): "
        + "the process must end, since what is on the disk is unknown until it is read again"
    default: preconditionFailure("not a failure")
    }
  }
}

extension StorageError {
  static func text(ofSystemError code: Int32) -> String {
    String(cString: strerror(code))
  }

  /// What a failed system call on `path` means.
  package static func fromSystem(_ code: Int32, operation: String, path: String) -> StorageError {
    switch code {
    case EACCES, EPERM, EROFS: .notWritable(path: path, reason: text(ofSystemError: code))
    case ENOTDIR: .notADirectory(path: path)
    case ENOSPC, EDQUOT, EFBIG: .diskFull(operation: "\(operation) of \(path)")
    default: .system(operation: operation, path: path, code: code)
    }
  }

  /// What a code of LMDB's means. Its own are negative, the system's are positive.
  static func fromLMDB(_ code: Int32, operation: String, path: String) -> StorageError {
    switch code {
    case EACCES, EPERM, EROFS: .notWritable(path: path, reason: text(ofSystemError: code))
    case ENOSPC, EDQUOT, EFBIG: .diskFull(operation: operation)
    case MDB_INVALID: .notALog(path: path, reason: "its data.mdb is not an LMDB file")
    case MDB_VERSION_MISMATCH: .notALog(path: path, reason: "its data.mdb has another version of LMDB's own format")
    case MDB_CORRUPTED, MDB_PAGE_NOTFOUND:
      .corruptFile(reason: "\(operation): \(String(cString: mdb_strerror(code)))")
    default: .lmdb(operation: operation, code: code)
    }
  }
}
