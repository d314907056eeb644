// What can be asked of a fenced database, and what it answers.
//
// Must never know HTTP. Every failure says what was seen; texts name no path, because they reach clients.

package import FencingCore

/// A value of SQLite's five storage classes.
public enum SQLValue: Sendable, Hashable {
  case null
  case integer(Int64)
  case real(Double)
  case text(String)
  case blob([UInt8])
}

/// One SQL statement with its parameters.
public struct SQLStatement: Sendable, Hashable {
  /// The values of the text's parameters.
  public enum Parameters: Sendable, Hashable {
    case positional([SQLValue])
    /// By name, without the prefix that the SQL text puts before it (`:`, `@` or `$`).
    case named([String: SQLValue])
  }

  /// The text: one statement.
  public let sql: String
  /// As many as the text has.
  public let parameters: Parameters

  /// A statement, not looked at before it runs.
  public init(_ sql: String, _ parameters: Parameters = .positional([])) {
    self.sql = sql
    self.parameters = parameters
  }
}

/// A write: its statements run in one transaction with the fence check.
package struct WriteRequest: Sendable {
  package let statements: [SQLStatement]
  /// The claims of verified tokens, at most one for each scope. Without any a write is refused, unless the database was
  /// declared open.
  package let claims: [FenceClaims]
  /// Whether one statement's failure undoes all of them. Otherwise each stands alone.
  package let isAllOrNothing: Bool
  /// Under which name its answer is kept, so that a repetition gets the answer and changes nothing.
  package let key: RequestKey?
  /// Less than the engine's own limit, by the client's wish.
  package var timeoutSeconds = Double.infinity

  package init(
    statements: [SQLStatement], claims: [FenceClaims], isAllOrNothing: Bool = false, idempotencyKey: String? = nil
  ) {
    self.statements = statements
    self.claims = claims
    self.isAllOrNothing = isAllOrNothing
    key = idempotencyKey.map { RequestKey($0, of: statements, isAllOrNothing: isAllOrNothing) }
  }

  package init(statements: [SQLStatement], claims: FenceClaims?, isAllOrNothing: Bool = false) {
    self.init(statements: statements, claims: claims.map { [$0] } ?? [], isAllOrNothing: isAllOrNothing)
  }
}

/// A read: all statements see one snapshot. With claims it is a fenced read.
package struct ReadRequest: Sendable {
  package let statements: [SQLStatement]
  package let claims: [FenceClaims]
  /// Less than the engine's own limit, by the client's wish.
  package var timeoutSeconds = Double.infinity
  /// Whether one statement that writes fails the whole request as one that needs a token.
  package var onlyReads = false

  package init(statements: [SQLStatement], claims: [FenceClaims]) {
    self.statements = statements
    self.claims = claims
  }

  package init(statements: [SQLStatement], claims: FenceClaims? = nil) {
    self.init(statements: statements, claims: claims.map { [$0] } ?? [])
  }
}

/// The floor of one scope.
package struct ScopeFloor: Sendable, Hashable {
  package let scope: String
  package let floor: Floor

  package init(scope: String, floor: Floor) {
    self.scope = scope
    self.floor = floor
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
  /// Whether the statement only read.
  package var isQuery = false

  package init() {}
}

package enum StatementOutcome: Sendable, Hashable {
  case success(StatementResult)
  /// SQLite's or the gateway's reason; the statement changed nothing.
  case failure(String)
}

package struct WriteOutcome: Sendable, Hashable {
  package let results: [StatementOutcome]
  /// The floors under which the write was committed, of the scopes whose tokens it had.
  package let floors: [ScopeFloor]
  /// The place of the commit in the order of this database's commits since it was opened.
  package let commit: UInt64
  /// Whether a failure undid the statements before it.
  package let isRolledBack: Bool
  /// Whether this is the kept answer to an earlier request under the same key.
  package var isRepeated = false

  package var floor: Floor? { floors.first?.floor }
}

package struct ReadOutcome: Sendable {
  package let results: [StatementOutcome]
  /// The floors in the snapshot that was read, for a fenced read.
  package let floors: [ScopeFloor]

  package var floor: Floor? { floors.first?.floor }
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
  /// The token is of one who shares the scope with others: for reading.
  case sharedToken(scope: String)
  case overloaded(queued: Int)
  case timedOut(seconds: Double)
  /// The key belongs to another request.
  case keyTaken(key: String)
  /// A request under this key was carried out so long ago that its answer is no longer kept.
  case answerGone(key: String)
  /// What is kept outside of the file disagrees with it: the scope waits for the core's word.
  case scopeClosed(scope: String)
  /// Several claims of one scope.
  case ambiguousClaims(scope: String)
  case busy(String)
  /// The database takes no writes any more until it is opened again.
  case halted(String)
  /// There was no room on the disk. When there is again, the request may be sent again.
  case diskFull(String)
  case storage(String)
  case closed
  /// What was to be loaded cannot be; the reason says what is wrong with it.
  case unloadable(String)
  /// The file could not be opened; the reason names its path, so it goes to the log and not to the client.
  case unopened(OpenError)
}
