// The library's own face: one SQLite file behind a fence, within a program, without HTTP.
//
// Must never offer a way around the check: there is no write without a token. It is thin on purpose: what it promises is
// what `FencedDatabase` does for the gateway, and nothing is decided here but whether a token is what it says.

import FencingCore
import Logging
import Synchronization
import Tokens

/// A SQLite file that no stale writer can touch.
///
/// A write is one transaction: the token's number is compared with the highest that the file was told of for its scope, the
/// statements run, and both commit together, flushed (`synchronous=FULL`). It is durable when it answers. Writes of many
/// tasks share a commit. Any task may call any method; SQLite runs on threads of its own, so none of them blocks the
/// cooperative pool.
///
/// One ``FencedFile`` or gateway has a file at a time, under a lock of the operating system. Close it in the end.
public final class FencedFile: Sendable {
  private struct Trust: Sendable {
    var keys: KeySet
    var cache = VerifiedTokenCache(capacity: 1024)
  }

  /// The scope whose tokens this file takes.
  public let scope: String
  private let slot: DatabaseSlot
  private let database: FencedDatabase
  private let trust: Mutex<Trust>

  private init(scope: String, slot: DatabaseSlot, database: FencedDatabase, keys: KeySet) {
    self.scope = scope
    self.slot = slot
    self.database = database
    trust = Mutex(Trust(keys: keys))
  }

  /// Opens a file, or makes it, and puts it under protection: it gets tables whose names begin with `_fence`, and is
  /// switched to write-ahead logging. Tables of its own are left alone.
  ///
  /// - Parameters:
  ///   - scope: whose tokens it takes.
  ///   - jwks: the public keys of the cluster that grants the scope, as a JWKS (RFC 7517). See ``trust(jwks:)``.
  ///   - enforcesForeignKeys: off by default, as in SQLite: protection must not change what the file's SQL means.
  ///   - floorCopyPath: where a copy of the floors is kept, by which an older file that was put back is noticed. Best on
  ///     another disk; beside the file by default.
  /// - Throws: ``FencedFileError`` with ``FencedFileError/Code/open`` or ``FencedFileError/Code/keys``.
  public static func open(
    _ path: String, scope: String, jwks: String, enforcesForeignKeys: Bool = false, floorCopyPath: String? = nil
  ) async throws(FencedFileError) -> FencedFile {
    let keys = try keySet(jwks)
    let declaration = DatabaseDeclaration(
      name: scope, path: path, enforcesForeignKeys: enforcesForeignKeys, floorCopyPath: floorCopyPath)
    let slot = DatabaseSlot(declaration, limits: EngineLimits(), logger: Logger(label: "portcullis.fenced-sqlite"))
    do throws(OpenError) {
      return FencedFile(scope: scope, slot: slot, database: try await slot.lease(), keys: keys)
    } catch {
      throw FencedFileError(.open, error.description)
    }
  }

  /// Takes these keys in the place of those before, as when a node has joined the cluster.
  public func trust(jwks: String) throws(FencedFileError) {
    let keys = try Self.keySet(jwks)
    trust.withLock { $0 = Trust(keys: keys) }
  }

  /// Carries out statements in one transaction with the check; all of them or none. Durable when it returns.
  ///
  /// - Parameters:
  ///   - token: as the cluster answered it with the grant.
  ///   - key: of the request, for exactly once: a repetition under the same key gets the first one's answer and changes
  ///     nothing, also after a hand-over. Kept for a day.
  /// - Returns: what each statement did.
  /// - Throws: ``FencedFileError``. Nothing was changed then, but with ``FencedFileError/Code/failed``, where the disk
  ///   failed and the file has to be read back.
  @discardableResult
  public func write(
    _ statements: [SQLStatement], token: String, key: String? = nil
  ) async throws(FencedFileError) -> [SQLAnswer] {
    let request = WriteRequest(
      statements: statements, claims: [try claims(of: token)], isAllOrNothing: true, idempotencyKey: key)
    let results: [StatementOutcome]
    do throws(RequestFailure) {
      results = try await database.execute(request).results
    } catch {
      throw FencedFileError(error)
    }
    return try Self.answers(results)
  }

  /// Reads in one snapshot.
  ///
  /// - Parameter token: with one, the read is refused where the token is stale in that very snapshot, and nobody older can
  ///   write after it. Without one it sees what was committed last, whoever holds the scope.
  public func read(_ statements: [SQLStatement], token: String? = nil) async throws(FencedFileError) -> [SQLAnswer] {
    let request = ReadRequest(
      statements: statements,
      claims: try token.map { token throws(FencedFileError) in
        [try claims(of: token)]
      } ?? [])
    let results: [StatementOutcome]
    do throws(RequestFailure) {
      results = try await database.query(request).results
    } catch {
      throw FencedFileError(error)
    }
    return try Self.answers(results)
  }

  /// Makes the token's number the floor, durably, ahead of every write that waits. A new holder does this before it reads:
  /// afterwards no older holder's write can land.
  public func raise(token: String) async throws(FencedFileError) {
    let claims = try claims(of: token)
    do throws(RequestFailure) {
      try await database.raise(claims)
    } catch {
      throw FencedFileError(error)
    }
  }

  /// Finishes what was asked before and closes the file. Further calls throw ``FencedFileError/Code/closed``.
  public func close() async {
    slot.release()
    await slot.end()
  }

  // MARK: Tokens and answers

  private func claims(of token: String) throws(FencedFileError) -> FenceClaims {
    let now = WallClock.seconds
    let leeway = KeySet.defaultLeewaySeconds
    do throws(TokenError) {
      let remembered = trust.withLock { trust in
        Result { () throws(TokenError) in
          try trust.cache.claims(of: token, keys: trust.keys, nowSeconds: now, leewaySeconds: leeway)
        }
      }
      if let claims = try remembered.get() { return claims }
      // Outside the lock: a verification takes longer than everything else here together.
      let verified = try trust.withLock { $0.keys }.verifiedToken(token, nowSeconds: now, leewaySeconds: leeway)
      trust.withLock { $0.cache.insert(verified, for: token) }
      return verified.claims
    } catch {
      throw FencedFileError(.token, error.description)
    }
  }

  private static func keySet(_ jwks: String) throws(FencedFileError) -> KeySet {
    do throws(TokenError) { return try KeySet(jwks: jwks) } catch {
      throw FencedFileError(.keys, error.description)
    }
  }

  private static func answers(_ outcomes: [StatementOutcome]) throws(FencedFileError) -> [SQLAnswer] {
    var answers: [SQLAnswer] = []
    for outcome in outcomes {
      switch outcome {
      case .success(let result): answers.append(SQLAnswer(result))
      case .failure(let reason): throw FencedFileError(.statement, reason)
      }
    }
    return answers
  }
}

/// What one statement did.
public struct SQLAnswer: Sendable, Hashable {
  /// The names of a query's columns; empty for a statement that answers no rows.
  public let columns: [String]
  /// One value for each column.
  public let rows: [[SQLValue]]
  /// By an INSERT, UPDATE or DELETE itself, without what its triggers did.
  public let rowsAffected: Int64
  /// SQLite's `last_insert_rowid()` after the statement.
  public let lastInsertID: Int64

  init(_ result: StatementResult) {
    columns = result.columns
    rows = result.rows
    rowsAffected = result.rowsAffected
    lastInsertID = result.lastInsertID
  }
}
