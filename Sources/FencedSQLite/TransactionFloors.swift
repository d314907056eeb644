// The floors as an open transaction has them: read from the file once, and once more before the commit.
//
// Nothing but the writer's own checks can change them within a transaction, and SQL that found a way to would be found
// out by the second look, together with the whole group; so the requests of a group need not read the file each.

import FencingCore

struct TransactionFloors {
  private var known: [String: Floor?] = [:]
  /// The claims that passed last, and the floors that they left; nil once a floor was raised after that.
  var passed: (claims: [FenceClaims], floors: [ScopeFloor])?

  mutating func floor(of scope: String, in connection: Connection) throws(SQLiteError) -> Floor? {
    if let known = known[scope] { return known }
    let floor = try FenceTable.floor(of: scope, in: connection)
    known[scope] = .some(floor)
    return floor
  }

  mutating func raise(
    _ scope: String, from old: Floor?, to new: Floor, in connection: Connection
  ) throws(SQLiteError) {
    try FenceTable.raise(scope, from: old, to: new, in: connection)
    known[scope] = .some(new)
    passed = nil
  }

  /// Whether the file still has what the checks went by.
  func hold(in connection: Connection) throws(SQLiteError) -> Bool {
    for (scope, floor) in known where try FenceTable.floor(of: scope, in: connection) != floor { return false }
    return true
  }

  /// For the next transaction.
  mutating func forget() {
    known.removeAll(keepingCapacity: true)
    passed = nil
  }
}
