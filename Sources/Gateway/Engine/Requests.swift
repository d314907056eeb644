// What can be asked of a fenced database, and what it answers.
//
// Must never know HTTP. Every failure says what was seen; texts name no path, because they reach clients.

package import FencingCore

/// A value of SQLite's five storage classes.
package enum SQLValue: Sendable, Hashable {
  case null
  case integer(Int64)
  case real(Double)
  case text(String)
  case blob([UInt8])
}

/// One SQL statement with its parameters.
package struct SQLStatement: Sendable, Hashable {
  package enum Parameters: Sendable, Hashable {
    case positional([SQLValue])
    /// By name, without the prefix that the SQL text puts before it (`:`, `@` or `$`).
    case named([String: SQLValue])
  }

  package let sql: String
  package let parameters: Parameters

  package init(_ sql: String, _ parameters: Parameters = .positional([])) {
    self.sql = sql
    self.parameters = parameters
  }
}

/// A write: its statements run in one transaction with the fence check.
package struct WriteRequest: Sendable {
  package let statements: [SQLStatement]
  /// The claims of a verified token; `nil` is refused unless the database was declared open.
  package let claims: FenceClaims?
  /// Whether one statement's failure undoes all of them. Otherwise each stands alone.
  package let isAllOrNothing: Bool

  package init(statements: [SQLStatement], claims: FenceClaims?, isAllOrNothing: Bool = false) {
    self.statements = statements
    self.claims = claims
    self.isAllOrNothing = isAllOrNothing
  }
}

/// A read: all statements see one snapshot. With claims it is a fenced read.
package struct ReadRequest: Sendable {
  package let statements: [SQLStatement]
  package let claims: FenceClaims?

  package init(statements: [SQLStatement], claims: FenceClaims? = nil) {
    self.statements = statements
    self.claims = claims
  }
}

/// What one statement did.
package struct StatementResult: Sendable, Hashable {
  package var columns: [String] = []
  /// Declared types in lower case; for expressions the storage class of the first row's value.
  package var types: [String] = []
  package var rows: [[SQLValue]] = []
  package var lastInsertID: Int64 = 0
  package var rowsAffected: Int64 = 0
  package var nanoseconds: UInt64 = 0

  package init() {}
}

package enum StatementOutcome: Sendable, Hashable {
  case success(StatementResult)
  /// SQLite's or the gateway's reason; the statement changed nothing.
  case failure(String)
}

package struct WriteOutcome: Sendable {
  package let results: [StatementOutcome]
  /// The floor under which the write was committed.
  package let floor: Floor?
  /// The place of the commit in the order of this database's commits since it was opened.
  package let commit: UInt64
  /// Whether a failure undid the statements before it.
  package let isRolledBack: Bool
}

package struct ReadOutcome: Sendable {
  package let results: [StatementOutcome]
  /// The floor in the snapshot that was read, for a fenced read.
  package let floor: Floor?
}

package struct RaiseReceipt: Sendable, Hashable {
  package let floor: Floor
  /// The last commit that came before this floor was durable.
  package let followsCommit: UInt64
}

/// Why a whole request was not carried out. Nothing of it has changed the data.
package enum RequestFailure: Error, Sendable, Hashable {
  case refused(Refusal)
  case tokenRequired(scope: String)
  case overloaded(queued: Int)
  case timedOut(seconds: Double)
  case busy(String)
  /// The database takes no writes any more until it is opened again.
  case halted(String)
  case storage(String)
  case closed
}
