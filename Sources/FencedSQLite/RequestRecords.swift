// Exactly once: which requests were carried out under which key, with their answers, beside the data that they changed.
//
// A fence does not stop the same holder's duplicates. So a keyed request leaves its answer in the transaction that
// carries it, and the answer is looked up *before* the fence: what was committed is answered as such even after the
// scope went to somebody else. Must never forget silently what it can still remember: an answer goes first, its key
// stays behind it as long as there is room, and a repetition in between is an error, not a second execution.

import CSQLite

struct RequestRecords {
  enum Found {
    case nothing
    case answer(WriteOutcome)
    case failure(RequestFailure)
  }

  private let limits: EngineLimits
  /// How much is kept; `nil` until it is counted, and again after a transaction was undone.
  private var kept: (answers: Int64, bytes: Int64)?
  /// Whether the open transaction keeps an answer.
  private var isChanged = false

  init(limits: EngineLimits) { self.limits = limits }

  mutating func committed() { isChanged = false }

  mutating func rolledBack() {
    if isChanged { kept = nil }
    isChanged = false
  }

  /// What is kept under `key`. With a hash of `nil` any request's answer is given.
  static func find(
    _ name: String, hash: [UInt8]?, scope: String, in connection: Connection
  ) throws(SQLiteError) -> Found {
    var found = Found.nothing
    try connection.runEngine(
      "SELECT hash, answer FROM main._fence_request WHERE scope = ?1 AND key = ?2", [.text(scope), .text(name)]
    ) { row in
      if let hash, row.value(0) != .blob(hash) {
        found = .failure(.keyTaken(key: name))
      } else if case .blob(let answer) = row.value(1) {
        do throws(DamagedAnswer) {
          found = .answer(try AnswerBytes.decode(answer))
        } catch {
          found = .failure(.storage("the kept answer to the request \"\(name)\" is damaged"))
        }
      } else {
        found = .failure(.answerGone(key: name))
      }
    }
    return found
  }

  /// Keeps an answer in the open transaction, and makes room for it.
  mutating func keep(
    _ outcome: WriteOutcome, of key: RequestKey, scope: String, in connection: Connection
  ) throws(SQLiteError) {
    precondition(connection.hasOpenTransaction, "an answer is kept in the transaction that carries its request")
    isChanged = true
    let answer = AnswerBytes.encode(outcome)
    let now = WallClock.seconds
    var counts: (answers: Int64, bytes: Int64)
    if let kept { counts = kept } else { counts = try count(in: connection) }
    try connection.runEngine(
      "INSERT INTO main._fence_request(scope, key, hash, answer, kept_at) VALUES(?1, ?2, ?3, ?4, ?5)",
      [.text(scope), .text(key.name), .blob(key.hash), .blob(answer), .integer(now)])
    counts.answers += 1
    counts.bytes += Int64(answer.count)
    try dropAnswers(&counts, now: now, in: connection)
    try forgetKeys(now: now, in: connection)
    kept = counts
  }

  private func count(in connection: Connection) throws(SQLiteError) -> (answers: Int64, bytes: Int64) {
    var counts: (answers: Int64, bytes: Int64) = (0, 0)
    try connection.runEngine(
      "SELECT count(*), total(length(answer)) FROM main._fence_request WHERE answer IS NOT NULL"
    ) { counts = ($0.integer(0), $0.integer(1)) }
    return counts
  }

  /// The oldest go, a few for each that comes: more than one, so that what is kept shrinks to its bound.
  private func dropAnswers(
    _ counts: inout (answers: Int64, bytes: Int64), now: Int64, in connection: Connection
  ) throws(SQLiteError) {
    var oldest: [(id: Int64, keptAt: Int64, bytes: Int64)] = []
    try connection.runEngine(
      """
      SELECT id, kept_at, length(answer) FROM main._fence_request INDEXED BY _fence_request_answers
      WHERE answer IS NOT NULL ORDER BY id LIMIT 8
      """
    ) { oldest.append(($0.integer(0), $0.integer(1), $0.integer(2))) }
    // The newest is the one that was just kept: it stays, however large it is.
    for entry in oldest where counts.answers > 1 {
      let isOld = entry.keptAt < now - limits.keptAnswerSeconds
      guard isOld || counts.answers > limits.keptAnswers || counts.bytes > limits.keptAnswerBytes else { return }
      try connection.runEngine("UPDATE main._fence_request SET answer = NULL WHERE id = ?1", [.integer(entry.id)])
      counts.answers -= 1
      counts.bytes -= entry.bytes
    }
  }

  private func forgetKeys(now: Int64, in connection: Connection) throws(SQLiteError) {
    var oldest: [(id: Int64, keptAt: Int64, isAnswered: Bool)] = []
    var newest: Int64 = 0
    try connection.runEngine("SELECT max(id) FROM main._fence_request") { newest = $0.integer(0) }
    try connection.runEngine("SELECT id, kept_at, answer IS NOT NULL FROM main._fence_request ORDER BY id LIMIT 8") {
      oldest.append(($0.integer(0), $0.integer(1), $0.integer(2) != 0))
    }
    for entry in oldest where !entry.isAnswered {
      // Ids are given out one after another, so the distance bounds the count.
      let isOver = newest - entry.id >= limits.rememberedKeys
      guard isOver || entry.keptAt < now - limits.rememberedKeySeconds else { return }
      try connection.runEngine("DELETE FROM main._fence_request WHERE id = ?1", [.integer(entry.id)])
    }
  }
}
