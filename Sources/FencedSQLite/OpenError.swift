// Why a database could not be put under protection. These texts go to the operator who named the path.

package enum OpenError: Error, Sendable, Hashable, CustomStringConvertible {
  case directoryMissing(path: String)
  case lockedByAnotherGateway(path: String, owner: String)
  case lockFailed(path: String, reason: String)
  case notADatabase(path: String)
  case notWritable(path: String)
  case severalLinks(path: String, count: Int)
  case cannotUseWAL(path: String, reason: String)
  case foreignFenceTable(path: String)
  /// The fence tables are a later program's.
  case newerFormat(path: String, format: Int64, known: Int64)
  case noThread
  case gatewayStopping
  case storage(path: String, reason: String)

  package var description: String {
    switch self {
    case .directoryMissing(let path):
      return "The directory of \(path) does not exist. Create it, or name another path."
    case .lockedByAnotherGateway(let path, let owner):
      return "\(path) is served by another gateway\(owner). A database has one gateway: stop that one first."
    case .lockFailed(let path, let reason):
      return "The lock file \(path) cannot be taken: \(reason)."
    case .notADatabase(let path):
      return "\(path) is not an SQLite database (or is encrypted). Nothing was changed."
    case .notWritable(let path):
      return "\(path) is not writable for this user."
    case .severalLinks(let path, let count):
      return "\(path) has \(count) hard links. SQLite keeps its log beside one name only; remove the others."
    case .cannotUseWAL(let path, let reason):
      return "\(path) cannot be switched to write-ahead logging: \(reason)."
        + " Close every other program that has it open and try again."
    case .foreignFenceTable(let path):
      return "\(path) has a table whose name starts with _fence and that is not the gateway's. Rename that table."
    case .newerFormat(let path, let format, let known):
      return "\(path) was last under a newer program: its fence tables have format \(format), and this program knows"
        + " formats up to \(known). Nothing was changed. Start that program, or a newer one."
    case .gatewayStopping:
      return "The gateway is stopping."
    case .noThread:
      return "The system has no thread left for a database."
    case .storage(let path, let reason):
      return "\(path) cannot be opened: \(reason)."
    }
  }
}
