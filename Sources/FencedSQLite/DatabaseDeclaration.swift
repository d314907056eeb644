// What an operator declares of one database: its file, its scopes, and how strictly they are kept.

/// One database that the gateway serves.
package struct DatabaseDeclaration: Sendable, Hashable {
  package let name: String
  package let path: String
  /// Covers the schema and every table that no other scope covers.
  package let scope: String
  /// Scopes that cover some tables of the file and nothing else of it.
  package let tableScopes: [TableScope]
  /// An open database takes writes to what `scope` covers without a token; a token that is presented is still checked.
  package let isOpen: Bool
  /// Foreign keys are off unless asked for, as in SQLite: protection must not change what a file's SQL means.
  package let enforcesForeignKeys: Bool
  /// The cluster that may take the place of the pinned one, by an operator's decision.
  package let adoptedCluster: UInt64?
  /// Where the copy of the floors lies; beside the file where it is `nil`. Elsewhere, best on another disk, it also
  /// outlives a restore of the whole directory.
  package let floorCopyPath: String?
  /// Whether the core is asked about each write's tokens. Without it the file's floors alone decide, so that a holder
  /// goes on writing while the core is out of reach.
  package let asksCore: Bool

  package init(
    name: String, path: String, scope: String? = nil, tableScopes: [TableScope] = [], isOpen: Bool = false,
    enforcesForeignKeys: Bool = false, adoptedCluster: UInt64? = nil, floorCopyPath: String? = nil,
    asksCore: Bool = false
  ) {
    self.name = name
    self.path = path
    self.scope = scope ?? name
    self.tableScopes = tableScopes
    self.isOpen = isOpen
    self.enforcesForeignKeys = enforcesForeignKeys
    self.adoptedCluster = adoptedCluster
    self.floorCopyPath = floorCopyPath
    self.asksCore = asksCore
  }
}

/// A scope that covers some tables of a file. A full-text or R-tree table brings the tables behind it along.
package struct TableScope: Sendable, Hashable {
  package let scope: String
  package let tables: [String]

  package init(scope: String, tables: [String]) {
    self.scope = scope
    self.tables = tables
  }
}
