// What the SQL functions do: present a token, and check it for each write of a guarded table.
//
// Must never let a write pass without a token that a key of the very file has signed, and never lower a floor. Invariants:
// a trigger hands in the floor and the keys of its own file, so that nothing attached or temporary stands in for them;
// a raise is durable with the commit that carries it.

import FencingCore
import Glibc
import Tokens

/// The tokens that were presented on one connection, the last one of each scope.
final class PresentedTokens {
  var byScope: [String: VerifiedToken] = [:]
  /// Whether the floor is being written, by nobody but `raise`.
  var isRaising = false
}

/// `portcullis_present(token)`: verifies a token with the keys of the main file and holds it for this connection.
/// Answers what it is for, as JSON.
func present(_ call: Call, _ arguments: Arguments) throws(FenceError) -> HostValue {
  guard let text = arguments.text(0) else { throw .noToken }
  let keys = try trustedKeys(of: call.host)
  let verified: VerifiedToken
  do throws(TokenError) {
    verified = try keys.verifiedToken(text, nowSeconds: nowSeconds())
  } catch {
    throw .token(error)
  }
  guard !verified.claims.isShared else { throw .shared(scope: verified.claims.scope) }
  call.presented.byScope[verified.claims.scope] = verified
  var json = Array(#"{"scope":"#.utf8)
  JSONText.append(verified.claims.scope, to: &json)
  json += #","number":\#(verified.claims.number),"incarnation":\#(verified.claims.incarnation),"holder":"#.utf8
  JSONText.append(verified.claims.holder, to: &json)
  json += #","expires_at":\#(verified.expiresAtSeconds)}"#.utf8
  return .text(String(decoding: json, as: UTF8.self))
}

/// The keys that the operator pinned in the file.
private func trustedKeys(of host: Host) throws(FenceError) -> KeySet {
  var isGuarded = false
  try host.run("SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_fence_key'") { _ in
    isGuarded = true
  }
  guard isGuarded else { throw .notGuarded }
  var rows: [HostValue] = []
  try host.run("SELECT x FROM main._fence_key") { rows += $0 }
  var keys: [VerifyingKey] = []
  for row in rows {
    guard case .text(let x) = row, let raw = Base64URL.decode(x.utf8) else { throw .damagedKey }
    do throws(TokenError) {
      keys.append(try VerifyingKey(rawRepresentation: raw))
    } catch {
      throw .damagedKey
    }
  }
  return KeySet(keys)
}

/// `portcullis_kid(scope)`: which key has signed the token that is held for a scope, or NULL. A trigger asks its own file
/// whether it knows the key, so a key that was taken out of the file ends every token of it.
func kid(_ call: Call, _ arguments: Arguments) -> HostValue {
  arguments.text(0).flatMap { call.presented.byScope[$0] }.map { .text($0.kid) } ?? .null
}

/// `portcullis_guard(scope, cluster, incarnation, number, holder, knowsKey)`, from the trigger of a guarded table: fails
/// unless the token that is held for the scope may write over this floor, and raises the floor where it is higher.
func check(_ call: Call, _ arguments: Arguments) throws(FenceError) -> HostValue {
  guard let scope = arguments.text(0) else { throw .damagedTrigger }
  guard let token = call.presented.byScope[scope] else { throw .tokenRequired(scope: scope) }
  do throws(TokenError) {
    try token.checkExpiry(nowSeconds: nowSeconds(), leewaySeconds: KeySet.defaultLeewaySeconds)
  } catch {
    throw .token(error)
  }
  if try raised((1...5).map { arguments[$0] }, by: token) != nil { try raise(scope, by: token, call) }
  return .null
}

/// Judges a token by a row of cluster, incarnation, number, holder and whether the file knows the key; the first four are
/// null before the first token. Answers the floor that has to be written, if any.
private func raised(_ row: [HostValue], by token: VerifiedToken) throws(FenceError) -> Floor? {
  let scope = token.claims.scope
  guard row.count == 5, row[4] == .integer(1) else { throw .unknownKey(kid: token.kid) }
  var floor: Floor?
  if row[0] != .null || row[1] != .null || row[2] != .null || row[3] != .null {
    guard case .text(let text) = row[0], let cluster = ClusterText.parse(text), case .integer(let high) = row[1],
      let incarnation = Incarnation(high), case .integer(let low) = row[2], let number = GrantNumber(low),
      case .text(let holder) = row[3]
    else { throw .damagedFloor(scope: scope) }
    floor = Floor(cluster: cluster, incarnation: incarnation, number: number, holder: holder)
  }
  switch admit(token.claims, against: floor, binding: ScopeBinding(scope: scope)) {
  case .accept: return nil
  case .refuse(let refusal): throw .refused(refusal)
  case .raise(let new): return new
  }
}

private func raise(_ scope: String, by token: VerifiedToken, _ call: Call) throws(FenceError) {
  var attached: [HostValue] = []
  try call.host.run("SELECT name FROM pragma_database_list WHERE seq > 1") { attached += $0 }
  // In WAL mode the files of one transaction commit one by one, and only the main file's floor is known by its name.
  guard attached.isEmpty else { throw .attached }
  var synchronous: HostValue = .null
  try call.host.run("PRAGMA main.synchronous") { synchronous = $0.first ?? .null }
  // With less, a power cut may undo the floor and let an old token in again. A later commit may be as careless as its
  // program likes: it is not the one that carries the floor.
  guard case .integer(let level) = synchronous, level >= 2 else { throw .notSynchronous }
  // A program may call the function by itself and hand in what it likes; what is written goes by what the file holds.
  var row: [HostValue] = []
  try call.host.run(
    """
    SELECT f.cluster, f.incarnation, f.number, f.holder, EXISTS(SELECT 1 FROM main._fence_key WHERE kid = ?2)
    FROM (SELECT 1) LEFT JOIN main._fence AS f ON f.scope = ?1
    """, [.text(scope), .text(token.kid)]
  ) { row = $0 }
  guard let floor = try raised(row, by: token) else { return }
  call.presented.isRaising = true
  defer { call.presented.isRaising = false }
  try call.host.keepingLastRow { () throws(FenceError) in
    try call.host.run(
      FloorSQL.raise,
      [
        .text(scope), .text(ClusterText.format(floor.cluster)), .integer(floor.incarnation.rawValue),
        .integer(floor.number.rawValue), .text(floor.holder), .integer(nowSeconds()),
      ])
  }
}

/// `portcullis_guard_own(table)`, from the triggers of the fence tables themselves: only a raise writes there.
func checkOwn(_ call: Call, _ arguments: Arguments) throws(FenceError) -> HostValue {
  guard call.presented.isRaising, arguments.text(0) == "_fence" else { throw .ownTable(arguments.text(0) ?? "") }
  return .null
}

/// The wall clock: for the expiry of a token, never for order.
private func nowSeconds() -> Int64 { Int64(time(nil)) }
