// Owns the bytes in which outcomes are remembered: for a client's requests, and in snapshots.
// Must never: leave out a part of an outcome. A repeated request gets what the first one would have got, but for what a
// failed comparison met: that is evidence about an instant which is over.
//
// One byte says which outcome, its parts follow, numbers in LEB128. A number once given is kept for ever: old snapshots
// are read by new versions.

extension Outcome {
  private enum Kind: UInt8 {
    case put = 1, deleted, transaction, compacted
    case leaseGranted = 16, leaseEnded, leaseRenewed
    case granted = 32, queued, released, waitEnded, refusedHeld, refusedNotHolder
    case grantedAll, refusedAwaited, refusedClosed, proclaimed, reopened
    /// Stands before another one in which a grant is shared: behind each grant is then said whether it is.
    case withShares
    case gatewayChanged = 128
    case nodeRegistered = 48, clockMarked, nodeForgotten
    case clientOpened = 64, clientEnded
    case failed = 80
    case alarms = 96
    case authChanged = 112, authenticated
  }

  package func encoded() -> Bytes {
    var out = ByteWriter(capacity: 16)
    encode(into: &out)
    return out.bytes
  }

  private func encode(into out: inout ByteWriter) {
    func begin(_ kind: Kind) { out.byte(kind.rawValue) }
    let shares = grants.contains { $0.isShared }
    if shares { begin(.withShares) }
    switch self {
    case .put(let previous): begin(.put); out.optional(previous) { $0.version($1) }
    case .deleted(let count, let previous): begin(.deleted); out.deleted(count, previous)
    case .transaction(let result): begin(.transaction); out.result(result)
    case .compacted: begin(.compacted)
    case .leaseGranted(let id, let ttl): begin(.leaseGranted); out.signed(id); out.signed(ttl)
    case .leaseEnded(let id): begin(.leaseEnded); out.signed(id)
    case .leaseRenewed(let id, let ttl): begin(.leaseRenewed); out.signed(id); out.signed(ttl)
    case .granted(let record): begin(.granted); out.grant(record, shares)
    case .grantedAll(let records):
      begin(.grantedAll); out.number(UInt64(records.count)); for record in records { out.grant(record, shares) }
    case .queued(let ticket): begin(.queued); out.number(ticket)
    case .released(let record): begin(.released); out.grant(record, shares)
    case .waitEnded(let holder): begin(.waitEnded); out.optional(holder) { $0.grant($1, shares) }
    case .refused(.held(let holder)): begin(.refusedHeld); out.grant(holder, shares)
    case .refused(.notHolder(let current, let last)):
      begin(.refusedNotHolder); out.optional(current) { $0.grant($1, shares) }; out.signed(last)
    case .refused(.awaited(let holder)): begin(.refusedAwaited); out.data(Bytes(holder.utf8))
    case .refused(.closed(let until)): begin(.refusedClosed); out.number(until)
    case .refused(.unconfirmed): preconditionFailure("that gateways are late is no outcome of an entry")
    case .proclaimed(let record): begin(.proclaimed); out.grant(record, shares)
    case .reopened(let wasClosed): begin(.reopened); out.flags(wasClosed)
    case .gatewayChanged(let isChanged): begin(.gatewayChanged); out.flags(isChanged)
    case .nodeRegistered: begin(.nodeRegistered)
    case .nodeForgotten: begin(.nodeForgotten)
    case .clockMarked: begin(.clockMarked)
    case .clientOpened(let id, let ttl): begin(.clientOpened); out.number(id); out.signed(ttl)
    case .clientEnded(let id): begin(.clientEnded); out.number(id)
    case .alarms(let alarms): begin(.alarms); out.alarms(alarms)
    case .authChanged: begin(.authChanged)
    case .authenticated(let index): begin(.authenticated); out.number(index)
    case .failed(let error): begin(.failed); out.error(error)
    }
  }

  package static func decode(_ bytes: Bytes) throws(StateError) -> Outcome {
    let result = bytes.withUnsafeBytes { raw -> Result<Outcome, StateError> in
      var input = StrictReader(raw)
      do throws(StateError) {
        let outcome = try decode(from: &input)
        guard input.left == 0 else { throw input.malformed("bytes after an outcome") }
        return .success(outcome)
      } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// The grants that the outcome tells of.
  private var grants: [GrantRecord] {
    switch self {
    case .granted(let record), .released(let record), .refused(.held(let record)), .proclaimed(let record): [record]
    case .grantedAll(let records): records
    case .waitEnded(let record?), .refused(.notHolder(let record?, _)): [record]
    default: []
    }
  }

  private static func decode(from input: inout StrictReader) throws(StateError) -> Outcome {
    let kind = try kind(from: &input)
    guard kind == .withShares else { return try decode(kind, shares: false, from: &input) }
    let inner = try Self.kind(from: &input)
    let outcome = try decode(inner, shares: true, from: &input)
    guard outcome.grants.contains(where: \.isShared) else { throw input.malformed("shares announced, and none there") }
    return outcome
  }

  private static func kind(from input: inout StrictReader) throws(StateError) -> Kind {
    let number = try input.byte()
    guard let kind = Kind(rawValue: number) else { throw input.malformed("unknown outcome \(number)") }
    return kind
  }

  private static func decode(
    _ kind: Kind, shares: Bool, from input: inout StrictReader
  ) throws(StateError) -> Outcome {
    switch kind {
    case .put: return .put(previous: try input.flag() ? try input.version() : nil)
    case .deleted:
      let (count, previous) = try input.deleted()
      return .deleted(count: count, previous: previous)
    case .transaction: return .transaction(try input.result(depth: 0))
    case .compacted: return .compacted
    case .leaseGranted: return .leaseGranted(try input.signed(), ttlMilliseconds: try input.signed())
    case .leaseEnded: return .leaseEnded(try input.signed())
    case .leaseRenewed: return .leaseRenewed(try input.signed(), ttlMilliseconds: try input.signed())
    case .granted, .grantedAll, .queued, .released, .waitEnded, .refusedHeld, .refusedNotHolder, .refusedAwaited,
      .refusedClosed, .proclaimed, .reopened, .withShares, .gatewayChanged:
      return try decodeGrants(kind, shares: shares, from: &input)
    case .nodeRegistered: return .nodeRegistered
    case .nodeForgotten: return .nodeForgotten
    case .clockMarked: return .clockMarked
    case .clientOpened: return .clientOpened(try input.number(), ttlMilliseconds: try input.signed())
    case .clientEnded: return .clientEnded(try input.number())
    case .alarms: return .alarms(try input.alarms())
    case .authChanged: return .authChanged
    case .authenticated: return .authenticated(tokenIndex: try input.number())
    case .failed: return .failed(try input.error())
    }
  }
}

extension Outcome {
  private static func decodeGrants(
    _ kind: Kind, shares: Bool, from input: inout StrictReader
  ) throws(StateError) -> Outcome {
    switch kind {
    case .granted: return .granted(try input.grant(shares))
    case .grantedAll:
      var records: [GrantRecord] = []
      for _ in 0..<(try input.count()) { records.append(try input.grant(shares)) }
      return .grantedAll(records)
    case .queued: return .queued(try input.number())
    case .released: return .released(try input.grant(shares))
    case .waitEnded: return .waitEnded(holder: try input.flag() ? try input.grant(shares) : nil)
    case .refusedHeld: return .refused(.held(by: try input.grant(shares)))
    case .refusedNotHolder:
      let current = try input.flag() ? try input.grant(shares) : nil
      return .refused(.notHolder(current: current, lastNumber: try input.signed()))
    case .refusedAwaited: return .refused(.awaited(by: try input.text()))
    case .refusedClosed: return .refused(.closed(untilMilliseconds: try input.number()))
    case .proclaimed: return .proclaimed(try input.grant(shares))
    case .reopened: return .reopened(try input.flag())
    case .gatewayChanged: return .gatewayChanged(try input.flag())
    default: throw input.malformed("shares of nothing")
    }
  }
}

// MARK: - Parts

extension ByteWriter {
  fileprivate mutating func optional<T>(_ value: T?, _ write: (inout ByteWriter, T) -> Void) {
    flags(value != nil)
    if let value { write(&self, value) }
  }

  fileprivate mutating func version(_ version: KeyVersion) {
    data(version.key.bytes)
    data(version.value)
    signed(version.createRevision)
    signed(version.modRevision)
    signed(version.version)
    signed(version.lease)
  }

  fileprivate mutating func versions(_ versions: [KeyVersion]) {
    number(UInt64(versions.count))
    for item in versions { version(item) }
  }

  fileprivate mutating func alarms(_ alarms: [Alarm]) {
    number(UInt64(alarms.count))
    for item in alarms { alarm(item) }
  }

  fileprivate mutating func deleted(_ count: Int, _ previous: [KeyVersion]) {
    number(UInt64(count))
    versions(previous)
  }

  fileprivate mutating func grant(_ record: GrantRecord, _ shares: Bool) {
    data(record.scope.bytes)
    signed(record.number)
    data(Bytes(record.holder.utf8))
    signed(record.lease)
    if shares { flags(record.isShared) }
  }

  fileprivate mutating func result(_ result: TransactionResult) {
    flags(result.succeeded)
    number(UInt64(result.results.count))
    for (item, revision) in result.results {
      signed(revision)
      switch item {
      case .range(let range, let keysOnly):
        byte(0)
        flags(keysOnly)
        flags(range.more)
        signed(range.count)
        versions(range.versions)
      case .put(let previous): byte(1); optional(previous) { $0.version($1) }
      case .deleted(let count, let previous): byte(2); deleted(count, previous)
      case .transaction(let inner): byte(3); self.result(inner)
      }
    }
  }

  fileprivate mutating func error(_ error: RequestError) {
    switch error {
    case .keyNotProvided: byte(1)
    case .keyNotFound: byte(2)
    case .valueProvided: byte(3)
    case .leaseProvided: byte(4)
    case .leaseNotFound(let id): byte(5); signed(id)
    case .leaseExists(let id): byte(6); signed(id)
    case .duplicateKey: byte(7)
    case .tooManyOperations(let limit): byte(8); signed(Int64(limit))
    case .compacted(let asked, let compacted): byte(9); signed(asked); signed(compacted)
    case .futureRevision(let asked, let current): byte(10); signed(asked); signed(current)
    case .malformedCommand(let text): byte(11); data(Bytes(text.utf8))
    case .clientExpired(let id): byte(12); number(id)
    case .sequenceForgotten(let name): byte(13); number(name.client); number(name.sequence)
    case .sequenceReused(let name): byte(14); number(name.client); number(name.sequence)
    case .spaceExceeded: byte(15)
    case .corruptCluster: byte(16)
    case .auth(let reason): byte(17); byte(reason.rawValue)
    case .unknownChoice(let text): byte(18); data(Bytes(text.utf8))
    }
  }
}

extension StrictReader {
  /// A number of items, each of which takes at least one byte, so no more can follow than there are bytes.
  fileprivate mutating func count() throws(StateError) -> Int {
    let announced = try number()
    guard announced <= UInt64(left) else { throw .cutShort }
    return Int(announced)
  }

  fileprivate mutating func version() throws(StateError) -> KeyVersion {
    KeyVersion(
      key: Key(try data()), value: try data(), createRevision: try signed(), modRevision: try signed(),
      version: try signed(), lease: try signed())
  }

  fileprivate mutating func versions() throws(StateError) -> [KeyVersion] {
    var all: [KeyVersion] = []
    for _ in 0..<(try count()) { all.append(try version()) }
    return all
  }

  fileprivate mutating func alarms() throws(StateError) -> [Alarm] {
    var all: [Alarm] = []
    for _ in 0..<(try count()) { all.append(try alarm()) }
    return all
  }

  fileprivate mutating func deleted() throws(StateError) -> (Int, [KeyVersion]) {
    (Int(try number(atMost: UInt64(Int.max), "a count of")), try versions())
  }

  fileprivate mutating func grant(_ shares: Bool) throws(StateError) -> GrantRecord {
    var record = GrantRecord(scope: Key(try data()), number: try signed(), holder: try text(), lease: try signed())
    if shares { record.isShared = try flag() }
    return record
  }

  /// Nesting is bounded, so that damaged bytes cannot exhaust the stack.
  fileprivate mutating func result(depth: Int) throws(StateError) -> TransactionResult {
    guard depth < StateLimits.deepestResult else { throw malformed("results nested too deep") }
    let succeeded = try flag()
    var results: [(result: TransactionResult.OperationResult, revision: Revision)] = []
    for _ in 0..<(try count()) {
      let revision = try signed()
      results.append((try operation(depth: depth), revision))
    }
    return TransactionResult(succeeded: succeeded, failed: [], results: results)
  }

  private mutating func operation(depth: Int) throws(StateError) -> TransactionResult.OperationResult {
    switch try byte() {
    case 0:
      let keysOnly = try flag()
      let more = try flag()
      let count = try signed()
      return .range(RangeResult(versions: try versions(), count: count, more: more), keysOnly: keysOnly)
    case 1: return .put(previous: try flag() ? try version() : nil)
    case 2:
      let (count, previous) = try deleted()
      return .deleted(count: count, previous: previous)
    case 3: return .transaction(try result(depth: depth + 1))
    case let other: throw malformed("unknown result \(other)")
    }
  }

  private mutating func name() throws(StateError) -> ClientSequence {
    ClientSequence(client: try number(), sequence: try number())
  }

  fileprivate mutating func error() throws(StateError) -> RequestError {
    switch try byte() {
    case 1: return .keyNotProvided
    case 2: return .keyNotFound
    case 3: return .valueProvided
    case 4: return .leaseProvided
    case 5: return .leaseNotFound(try signed())
    case 6: return .leaseExists(try signed())
    case 7: return .duplicateKey
    case 8: return .tooManyOperations(limit: Int(try signed()))
    case 9: return .compacted(asked: try signed(), compacted: try signed())
    case 10: return .futureRevision(asked: try signed(), current: try signed())
    case 11: return .malformedCommand(try text())
    case 12: return .clientExpired(try number())
    case 13: return .sequenceForgotten(try name())
    case 14: return .sequenceReused(try name())
    case 15: return .spaceExceeded
    case 16: return .corruptCluster
    case 17:
      let number = try byte()
      guard let reason = AuthError(rawValue: number) else { throw malformed("unknown refusal \(number)") }
      return .auth(reason)
    case 18: return .unknownChoice(try text())
    case let other: throw malformed("unknown error \(other)")
    }
  }
}
