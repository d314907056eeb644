// Which scope covers what of a file: the answer to "whose token does this statement need?".
//
// Must never leave a table without a scope: what is not named belongs to the file's own. Names are compared as SQLite
// compares them, without regard to the case of ASCII letters.

import CSQLite
import FencingCore

package struct ScopeMap: Sendable {
  /// Covers the schema and every table that is not in `scopeByTable`.
  package let own: String
  let adoptedCluster: UInt64?
  private let scopeByTable: [String: String]
  private let others: Set<String>

  package init(_ declaration: DatabaseDeclaration) {
    own = declaration.scope
    adoptedCluster = declaration.adoptedCluster
    others = Set(declaration.tableScopes.map(\.scope))
    var scopeByTable: [String: String] = [:]
    for part in declaration.tableScopes {
      for table in part.tables { scopeByTable[table.lowercased()] = part.scope }
    }
    self.scopeByTable = scopeByTable
  }

  /// Whether anything but the file's own scope covers a part of it.
  package var isDivided: Bool { !scopeByTable.isEmpty }

  package var all: [String] { [own] + others.sorted() }

  package func contains(_ scope: String) -> Bool { scope == own || others.contains(scope) }

  /// The binding under which claims are judged: claims of a scope that is not the file's are refused by it.
  func binding(for claims: FenceClaims) -> ScopeBinding {
    ScopeBinding(scope: contains(claims.scope) ? claims.scope : own, adoptedCluster: adoptedCluster)
  }

  func isBound(_ table: String?) -> Bool { scope(ofTable: table) != own }

  /// The scopes that a statement needs which asks SQLite's authorizer for `action`.
  func needed(by action: SQLAction) -> [String] {
    switch action.code {
    case SQLITE_INSERT, SQLITE_UPDATE, SQLITE_DELETE:
      return [scope(ofTable: action.first)]
    // The schema is the file's own, and what hangs on a table concerns that table's scope too.
    case SQLITE_CREATE_TABLE, SQLITE_DROP_TABLE, SQLITE_CREATE_VIEW, SQLITE_DROP_VIEW, SQLITE_CREATE_VTABLE,
      SQLITE_DROP_VTABLE:
      return both(scope(ofTable: action.first))
    case SQLITE_CREATE_INDEX, SQLITE_DROP_INDEX, SQLITE_CREATE_TRIGGER, SQLITE_DROP_TRIGGER, SQLITE_ALTER_TABLE:
      return both(scope(ofTable: action.second))
    case SQLITE_REINDEX, SQLITE_ANALYZE:
      return [own]
    case SQLITE_PRAGMA:
      return action.second == nil ? [] : [own]
    default:
      return []
    }
  }

  private func both(_ scope: String) -> [String] { scope == own ? [own] : [own, scope] }

  func scope(ofTable name: String?) -> String {
    guard let name = name?.lowercased() else { return own }
    if let scope = scopeByTable[name] { return scope }
    // The tables in which a virtual table keeps its data (sqlite.org/vtab.html#xshadowname).
    if let separator = name.lastIndex(of: "_"), Self.shadows.contains(String(name[separator...])),
      let scope = scopeByTable[String(name[..<separator])]
    {
      return scope
    }
    return own
  }

  /// What FTS3 to FTS5 and R-tree put behind the name of their table.
  private static let shadows: Set<String> = [
    "_config", "_content", "_data", "_docsize", "_idx", "_node", "_parent", "_rowid", "_segdir", "_segments", "_stat",
  ]
}
