// Owns the tokens that users get for their password, as far as they are replicated: whoever has one may ask any node.
//
// Must never: hold a token itself. What is kept is a hash of its secret half, so that neither the log nor a snapshot nor
// whoever reads them can speak for a user.
//
// A token lives for its time since it was made or last renewed, on the cluster clock. Nodes propose renewals for tokens
// that are used. Tokens whose time is over are worth nothing at once, and are let go of when the next one is made.

package struct TokenRequest: Sendable, Equatable {
  package let user: AuthName
  /// A hash of the token's secret.
  package let secretHash: Key
  /// By which the password was checked.
  package let authRevision: UInt64
  package let ttlMilliseconds: Int64

  package init(user: AuthName, secretHash: Key, authRevision: UInt64, ttlMilliseconds: Int64) {
    self.user = user
    self.secretHash = secretHash
    self.authRevision = authRevision
    self.ttlMilliseconds = ttlMilliseconds
  }
}

package struct TokenRecord: Sendable {
  package let user: AuthName
  /// Of the entry that made it.
  package let index: UInt64
  package let ttlMilliseconds: Int64
  /// On the cluster clock.
  package internal(set) var deadlineMilliseconds: UInt64
}

package struct TokenTable: Sendable {
  private(set) var tokens = OrderedTree<Key, TokenRecord>()
  private var deadlines = OrderedTree<DeadlineKey<Key>, Void>()

  init() {}

  /// - Parameter sorted: tokens by ascending hash.
  init(sorted: [(Key, TokenRecord)]) {
    tokens = OrderedTree(sorted: sorted)
    deadlines = OrderedTree(sorted: sorted.map { Self.deadlineKey($0, $1) }.sorted().map { ($0, ()) })
  }

  package var count: Int { tokens.count }

  package subscript(secretHash: Key) -> TokenRecord? { tokens[secretHash] }

  private static func deadlineKey(_ hash: Key, _ record: TokenRecord) -> DeadlineKey<Key> {
    DeadlineKey(deadlineMilliseconds: record.deadlineMilliseconds, id: hash)
  }

  /// Makes room where there is none: those that are nearest their end go first.
  /// - Returns: false when there is such a token already.
  mutating func add(_ request: TokenRequest, index: UInt64, clock: UInt64) -> Bool {
    while let first = deadlines.first?.key,
      first.deadlineMilliseconds <= clock || tokens.count >= StateLimits.maxTokens
    {
      remove(first.id)
    }
    guard tokens[request.secretHash] == nil else { return false }
    let record = TokenRecord(
      user: request.user, index: index, ttlMilliseconds: max(request.ttlMilliseconds, 0),
      deadlineMilliseconds: deadline(after: request.ttlMilliseconds, from: clock))
    tokens.updateValue(record, forKey: request.secretHash)
    deadlines.updateValue((), forKey: Self.deadlineKey(request.secretHash, record))
    return true
  }

  /// Those that are there and alive get their whole time again.
  mutating func renew(_ hashes: [Key], clock: UInt64) {
    for hash in hashes {
      guard var record = tokens[hash], record.deadlineMilliseconds > clock else { continue }
      deadlines.removeValue(forKey: Self.deadlineKey(hash, record))
      record.deadlineMilliseconds = max(
        record.deadlineMilliseconds, deadline(after: record.ttlMilliseconds, from: clock))
      deadlines.updateValue((), forKey: Self.deadlineKey(hash, record))
      tokens.updateValue(record, forKey: hash)
    }
  }

  mutating func removeAll(of user: AuthName) {
    var doomed: [Key] = []
    tokens.forEach { hash, record in
      if record.user == user { doomed.append(hash) }
      return true
    }
    for hash in doomed { remove(hash) }
  }

  private mutating func remove(_ hash: Key) {
    guard let record = tokens.removeValue(forKey: hash) else { return }
    deadlines.removeValue(forKey: Self.deadlineKey(hash, record))
  }
}
