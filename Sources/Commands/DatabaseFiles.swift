// `portcullis guard`, `unguard` and `release-database`: what is done to a database's file while no gateway serves it, and
// what is said about it.

import FencingCore
package import Gateway
import Tokens

package enum DatabaseFiles {
  /// - Throws: `CommandFailure` with `ExitCode.failed`; the file is then as it was.
  package static func guardFile(
    _ path: String, scope: String, tableScopes: [TableScope], jwks: String
  ) throws(CommandFailure) -> GuardedFile {
    let keys: KeySet
    do throws(TokenError) { keys = try KeySet(jwks: jwks) } catch {
      throw CommandFailure(ExitCode.failed, "the key set cannot be used. \(error)")
    }
    return try explaining { () throws(FileChangeError) in
      GuardedFile(try FileChanges.guardFile(path, scope: scope, tableScopes: tableScopes, keys: keys))
    }
  }

  package static func unguard(_ path: String) throws(CommandFailure) -> UnguardedFile {
    try explaining { () throws(FileChangeError) in UnguardedFile(try FileChanges.unguard(path)) }
  }

  package static func release(_ path: String) throws(CommandFailure) -> ReleasedFile {
    try explaining { () throws(FileChangeError) in ReleasedFile(try FileChanges.release(path)) }
  }

  private static func explaining<Report>(
    _ body: () throws(FileChangeError) -> Report
  ) throws(CommandFailure) -> Report {
    do throws(FileChangeError) { return try body() } catch {
      throw CommandFailure(ExitCode.failed, error.description)
    }
  }
}

package struct GuardedFile: Encodable {
  struct Table: Encodable {
    let name: String
    let scope: String
  }

  let path: String
  let tables: [Table]
  let keys: [String]
  let wasGuarded: Bool

  init(_ report: GuardReport) {
    path = report.path
    tables = report.tables.map { Table(name: $0.name, scope: $0.scope) }
    keys = report.kids
    wasGuarded = report.wasGuarded
  }

  package var text: String {
    var table = TextTable("TABLE", "SCOPE")
    for row in tables { table.add(row.name, row.scope) }
    return """
      \(TerminalText.clean(path)) guards itself\(wasGuarded ? ", with these scopes and keys from now on" : "").
      keys: \(keys.joined(separator: ", "))
      \(table.text)
      Whoever writes loads libportcullis_fence.so and presents a token: SELECT portcullis_present(token)
      """
  }
}

package struct UnguardedFile: Encodable {
  let path: String
  let keepsFloors: Bool

  init(_ report: UnguardReport) {
    path = report.path
    keepsFloors = report.keepsFloors
  }

  package var text: String {
    let rest =
      keepsFloors
      ? "Its floors stay, because a gateway has served it; portcullis release-database takes those away too."
      : "Its schema is what it was before."
    return "\(TerminalText.clean(path)) no longer guards itself. \(rest)"
  }
}

package struct ReleasedFile: Encodable {
  struct ScopeFloor: Encodable {
    let scope: String
    let number: Int64
    let incarnation: Int64
    let cluster: String
    let holder: String
  }

  let path: String
  let wasGuarded: Bool
  let journalModeBefore: String
  let floors: [ScopeFloor]
  let removedCopy: Bool

  init(_ report: ReleaseReport) {
    path = report.path
    wasGuarded = report.wasGuarded
    journalModeBefore = report.journalMode
    floors = report.floors.map { entry in
      ScopeFloor(
        scope: entry.scope, number: entry.floor.number.rawValue, incarnation: entry.floor.incarnation.rawValue,
        cluster: ClusterText.format(entry.floor.cluster), holder: entry.floor.holder)
    }
    removedCopy = report.removedCopy
  }

  package var text: String {
    var lines = ["\(TerminalText.clean(path)) is a plain file again, with its own schema and nothing of the fence."]
    if wasGuarded { lines.append("It no longer guards itself.") }
    lines.append("journal mode: delete (was \(journalModeBefore)); its log was brought into the file")
    if removedCopy {
      lines.append("The copy of its floors beside it is gone. One elsewhere (--floors-dir) is yours to remove.")
    }
    if floors.isEmpty {
      lines.append("It had no floors.")
    } else {
      var table = TextTable("SCOPE", "NUMBER", "INCARNATION", "CLUSTER", "HOLDER")
      for floor in floors {
        table.add(floor.scope, "\(floor.number)", "\(floor.incarnation)", floor.cluster, floor.holder)
      }
      lines += ["Floors that went with it, below which writers were stale:", table.text]
    }
    return lines.joined(separator: "\n")
  }
}
