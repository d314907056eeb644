// The copy of a file's floors that lies outside of it, and what is made of a disagreement between the two.
//
// A database that was restored from a backup has the floors of the day of the backup, under which tokens pass that were
// refused since. The copy remembers. Must never be behind an acknowledged floor: it is flushed before a raise is
// answered. Invariant: a scope whose file and copy disagree is closed, in the copy too, until it is seeded anew.

import FencingCore
import FoundationEssentials
import Glibc
import Tokens

/// What the copy holds.
struct FloorCopy: Sendable, Equatable {
  /// Of the database that it belongs to; see `FenceTable.identity`.
  var identity: String
  var floors: [String: Floor] = [:]
  /// Scopes that were closed and not seeded since.
  var closed: Set<String> = []
}

/// A disagreement: the scope is closed, and never opens below `bound`.
struct ClosedScope: Sendable, Hashable {
  let bound: Floor?
}

extension FloorCopy {
  enum Kept {
    case missing
    case unreadable
    case copy(FloorCopy)
  }

  /// The scopes that start closed.
  ///
  /// - Parameters:
  ///   - identity: the file's, or `nil` where it was not under protection before.
  ///   - floors: the file's.
  ///   - isNew: whether the identity was given to the file only now, so that no copy can exist.
  static func disagreements(
    identity: String?, isNew: Bool, floors: [String: Floor], kept: Kept, scopes: [String]
  ) -> [String: ClosedScope] {
    func all(_ bounds: [String: Floor]) -> [String: ClosedScope] {
      Dictionary(uniqueKeysWithValues: scopes.map { ($0, ClosedScope(bound: bounds[$0])) })
    }
    switch kept {
    case .missing:
      // A file that never had a copy, or never a floor, has nothing that a copy could have contradicted.
      return isNew || identity == nil || floors.isEmpty ? [:] : all([:])
    case .unreadable:
      return all([:])
    case .copy(let copy):
      guard copy.identity == identity, !isNew else { return all(copy.floors) }
      var closed: [String: ClosedScope] = [:]
      for scope in scopes {
        let (old, new) = (copy.floors[scope], floors[scope])
        let isBehind = old.map { old in new.map { $0.cluster != old.cluster || $0.authority < old.authority } ?? true }
        if isBehind == true || copy.closed.contains(scope) { closed[scope] = ClosedScope(bound: old) }
      }
      return closed
    }
  }
}

/// The file that holds the copy. Confined to the writer's thread.
struct FloorFile: Sendable {
  /// What is put behind the database's name where no other place is declared.
  static let suffix = "-gateway.floors"

  let path: String

  func read() -> FloorCopy.Kept {
    guard let data = FileManager.default.contents(atPath: path) else {
      return access(path, F_OK) == 0 ? .unreadable : .missing
    }
    guard let json = try? StrictJSON.parse(Array(data)), let identity = json["identity"]?.string,
      case .array(let entries)? = json["floors"], case .array(let closed)? = json["closed"]
    else { return .unreadable }
    var copy = FloorCopy(identity: identity)
    for entry in entries {
      guard let scope = entry["scope"]?.string, let cluster = entry["cluster"]?.string.flatMap(ClusterText.parse),
        let incarnation = entry["incarnation"]?.integer.flatMap({ Incarnation($0) }),
        let number = entry["number"]?.integer.flatMap({ GrantNumber($0) }), let holder = entry["holder"]?.string
      else { return .unreadable }
      copy.floors[scope] = Floor(cluster: cluster, incarnation: incarnation, number: number, holder: holder)
    }
    copy.closed = Set(closed.compactMap(\.string))
    return .copy(copy)
  }

  /// Replaces the copy: written under another name, flushed, renamed, and the directory flushed.
  func write(_ copy: FloorCopy) throws(SQLiteError) {
    let temporary = path + ".new"
    let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw failure("made") }
    let bytes = text(of: copy)
    var written = 0
    while written < bytes.count {
      let count = bytes[written...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
      guard count > 0 else {
        close(file)
        throw failure("written")
      }
      written += count
    }
    let isFlushed = fsync(file) == 0
    close(file)
    guard isFlushed else { throw failure("flushed") }
    guard rename(temporary, path) == 0 else { throw failure("renamed") }
    let directory = open(path.lastIndex(of: "/").map { String(path[..<$0]) + "/" } ?? ".", O_RDONLY | O_DIRECTORY)
    guard directory >= 0 else { throw failure("found again") }
    defer { close(directory) }
    guard fsync(directory) == 0 else { throw failure("flushed with its directory") }
  }

  /// As one of SQLite's, so that it stops the writer like a failed write to the database itself.
  private func failure(_ what: String) -> SQLiteError {
    SQLiteError(
      code: SQLiteError.inputOutput,
      message: "the copy of the floors could not be \(what): \(String(cString: strerror(errno)))")
  }

  private func text(of copy: FloorCopy) -> [UInt8] {
    var bytes: [UInt8] = []
    func string(_ text: String) { JSONText.append(text, to: &bytes) }
    func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }
    raw("{\"identity\":")
    string(copy.identity)
    raw(",\"floors\":[")
    for (index, (scope, floor)) in copy.floors.sorted(by: { $0.key < $1.key }).enumerated() {
      raw(index == 0 ? "\n{\"scope\":" : ",\n{\"scope\":")
      string(scope)
      raw(",\"cluster\":\"\(ClusterText.format(floor.cluster))\",\"incarnation\":\(floor.incarnation),")
      raw("\"number\":\(floor.number),\"holder\":")
      string(floor.holder)
      raw("}")
    }
    raw("],\"closed\":[")
    for (index, scope) in copy.closed.sorted().enumerated() {
      if index > 0 { raw(",") }
      string(scope)
    }
    raw("]}\n")
    return bytes
  }
}
