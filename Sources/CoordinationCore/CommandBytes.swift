// The primitive bytes of the command format, and the parts of commands that are built from one another.

struct ByteWriter {
  var bytes: Bytes = []

  init(capacity: Int) {
    bytes.reserveCapacity(capacity)
  }

  mutating func byte(_ value: UInt8) { bytes.append(value) }

  mutating func fixed(_ value: UInt64) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func number(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  /// Zigzag, so that small negative numbers stay short too.
  mutating func signed(_ value: Int64) { number(UInt64(bitPattern: (value << 1) ^ (value >> 63))) }

  mutating func data(_ value: Bytes) {
    number(UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  mutating func flags(_ a: Bool, _ b: Bool = false, _ c: Bool = false) {
    byte((a ? 1 : 0) | (b ? 2 : 0) | (c ? 4 : 0))
  }

  mutating func range(_ range: KeyRange) {
    data(range.start.bytes)
    switch range.end {
    case .single: byte(0)
    case .unbounded: byte(1)
    case .before(let bound): byte(2); data(bound.bytes)
    }
  }

  mutating func put(_ request: PutRequest) {
    flags(request.wantsPrevious, request.ignoresValue, request.ignoresLease)
    signed(request.lease)
    data(request.key.bytes)
    data(request.value)
  }

  mutating func delete(_ request: DeleteRequest) {
    flags(request.wantsPrevious)
    range(request.range)
  }

  mutating func query(_ query: RangeQuery) {
    flags(query.keysOnly, query.countOnly)
    range(query.range)
    byte(query.order.rawValue)
    byte(query.target.rawValue)
    signed(query.limit)
    signed(query.revision)
    signed(query.minModRevision)
    signed(query.maxModRevision)
    signed(query.minCreateRevision)
    signed(query.maxCreateRevision)
  }

  mutating func keys(_ keys: [Key]) {
    number(UInt64(keys.count))
    for key in keys { data(key.bytes) }
  }

  mutating func terms(_ terms: GrantTerms) {
    flags(terms.isShared)
    keys(terms.more)
    signed(terms.lockDelayMilliseconds)
    data(terms.value)
    byte(terms.barrier.rawValue)
    signed(terms.barrierMilliseconds)
  }

  mutating func alarm(_ alarm: Alarm) {
    byte(alarm.kind.rawValue)
    number(alarm.member)
    if alarm.kind == .quota { number(alarm.quotaBytes) }
  }

  mutating func compare(_ compare: Compare) {
    range(compare.range)
    byte(compare.relation.rawValue)
    switch compare.target {
    case .version(let value): byte(0); signed(value)
    case .createRevision(let value): byte(1); signed(value)
    case .modRevision(let value): byte(2); signed(value)
    case .value(let value): byte(3); data(value)
    case .lease(let value): byte(4); signed(value)
    }
  }

  mutating func transaction(_ request: TransactionRequest) {
    number(UInt64(request.compares.count))
    for item in request.compares { compare(item) }
    for branch in [request.success, request.failure] {
      number(UInt64(branch.count))
      for operation in branch {
        switch operation {
        case .range(let item): byte(0); query(item)
        case .put(let item): byte(1); put(item)
        case .delete(let item): byte(2); delete(item)
        case .transaction(let item): byte(3); transaction(item)
        }
      }
    }
  }
}

extension Array<UInt8> {
  func withBytes<T>(_ body: (inout ByteReader) throws(RequestError) -> T) throws(RequestError) -> T {
    // `withUnsafeBytes` does not pass a typed error through, hence the result.
    let result = withUnsafeBytes { raw -> Result<T, RequestError> in
      var reader = ByteReader(rest: raw)
      do throws(RequestError) { return .success(try body(&reader)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}

/// Reads what `ByteWriter` wrote. Every length is checked before it is used.
struct ByteReader {
  var rest: UnsafeRawBufferPointer
  private var offset = 0

  init(rest: UnsafeRawBufferPointer) {
    self.rest = rest
  }

  var left: Int { rest.count - offset }
  var isAtEnd: Bool { left == 0 }

  mutating func byte() throws(RequestError) -> UInt8 {
    guard left >= 1 else { throw .malformedCommand("cut short at byte \(offset)") }
    defer { offset += 1 }
    return rest[offset]
  }

  mutating func fixed() throws(RequestError) -> UInt64 {
    guard left >= 8 else { throw .malformedCommand("cut short at byte \(offset)") }
    defer { offset += 8 }
    return UInt64(littleEndian: rest.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  mutating func number() throws(RequestError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      let next = try byte()
      if shift == 63, next > 1 { break }
      value |= UInt64(next & 0x7F) << shift
      if next & 0x80 == 0 { return value }
    }
    throw .malformedCommand("a number before byte \(offset) is longer than 64 bits")
  }

  mutating func signed() throws(RequestError) -> Int64 {
    let raw = try number()
    return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
  }

  mutating func data() throws(RequestError) -> Bytes {
    let length = try number()
    guard length <= UInt64(left) else { throw .malformedCommand("\(length) bytes announced, \(left) left") }
    defer { offset += Int(length) }
    return Bytes(rest[offset..<(offset + Int(length))])
  }

  mutating func text() throws(RequestError) -> String { String(decoding: try data(), as: UTF8.self) }

  mutating func keys() throws(RequestError) -> [Key] {
    let count = try number()
    // Each takes a byte at least.
    guard count <= UInt64(left) else { throw .malformedCommand("\(count) keys announced, \(left) bytes left") }
    var all: [Key] = []
    for _ in 0..<count { all.append(Key(try data())) }
    return all
  }

  mutating func terms() throws(RequestError) -> GrantTerms {
    var terms = GrantTerms()
    terms.isShared = try flags().0
    terms.more = try keys()
    terms.lockDelayMilliseconds = try signed()
    terms.value = try data()
    let number = try byte()
    guard let barrier = GrantTerms.Barrier(rawValue: number) else {
      throw .malformedCommand("unknown barrier \(number)")
    }
    terms.barrier = barrier
    terms.barrierMilliseconds = try signed()
    return terms
  }

  mutating func flags() throws(RequestError) -> (Bool, Bool, Bool) {
    let value = try byte()
    return (value & 1 != 0, value & 2 != 0, value & 4 != 0)
  }

  mutating func range() throws(RequestError) -> KeyRange {
    let start = Key(try data())
    switch try byte() {
    case 0: return KeyRange(start: start, end: .single)
    case 1: return KeyRange(start: start, end: .unbounded)
    case 2: return KeyRange(start: start, end: .before(Key(try data())))
    case let end: throw .malformedCommand("unknown end of range \(end)")
    }
  }

  mutating func put() throws(RequestError) -> PutRequest {
    let (wantsPrevious, ignoresValue, ignoresLease) = try flags()
    let lease = try signed()
    var request = PutRequest(key: Key(try data()), value: try data())
    request.lease = lease
    request.wantsPrevious = wantsPrevious
    request.ignoresValue = ignoresValue
    request.ignoresLease = ignoresLease
    return request
  }

  mutating func delete() throws(RequestError) -> DeleteRequest {
    let wantsPrevious = try flags().0
    return DeleteRequest(range: try range(), wantsPrevious: wantsPrevious)
  }

  mutating func query() throws(RequestError) -> RangeQuery {
    let (keysOnly, countOnly, _) = try flags()
    var query = RangeQuery(range: try range())
    query.keysOnly = keysOnly
    query.countOnly = countOnly
    guard let order = RangeQuery.SortOrder(rawValue: try byte()),
      let target = RangeQuery.SortTarget(rawValue: try byte())
    else { throw .malformedCommand("unknown sort option") }
    query.order = order
    query.target = target
    query.limit = try signed()
    query.revision = try signed()
    query.minModRevision = try signed()
    query.maxModRevision = try signed()
    query.minCreateRevision = try signed()
    query.maxCreateRevision = try signed()
    return query
  }

  mutating func alarm() throws(RequestError) -> Alarm {
    let number = try byte()
    guard let kind = Alarm.Kind(rawValue: number) else { throw .malformedCommand("unknown kind of alarm \(number)") }
    let member = try self.number()
    return kind == .quota ? Alarm(quotaBytes: try self.number(), member: member) : Alarm(kind, member: member)
  }

  mutating func compare() throws(RequestError) -> Compare {
    let range = try range()
    guard let relation = Compare.Relation(rawValue: try byte()) else { throw .malformedCommand("unknown relation") }
    let target: Compare.Target
    switch try byte() {
    case 0: target = .version(try signed())
    case 1: target = .createRevision(try signed())
    case 2: target = .modRevision(try signed())
    case 3: target = .value(try data())
    case 4: target = .lease(try signed())
    case let other: throw .malformedCommand("unknown target of a comparison \(other)")
    }
    return Compare(range: range, target: target, relation: relation)
  }

  /// Nesting is bounded, so that damaged bytes cannot exhaust the stack.
  mutating func transaction(depth: Int) throws(RequestError) -> TransactionRequest {
    guard depth < 256 else { throw .malformedCommand("transactions nested deeper than 256") }
    var request = TransactionRequest()
    for _ in 0..<(try count()) { request.compares.append(try compare()) }
    for _ in 0..<(try count()) { request.success.append(try operation(depth: depth)) }
    for _ in 0..<(try count()) { request.failure.append(try operation(depth: depth)) }
    return request
  }

  private mutating func operation(depth: Int) throws(RequestError) -> TransactionRequest.Operation {
    switch try byte() {
    case 0: return .range(try query())
    case 1: return .put(try put())
    case 2: return .delete(try delete())
    case 3: return .transaction(try transaction(depth: depth + 1))
    case let other: throw .malformedCommand("unknown operation \(other)")
    }
  }

  /// A number of items, each of which takes at least one byte.
  mutating func count() throws(RequestError) -> Int {
    let announced = try number()
    guard announced <= UInt64(left) else { throw .malformedCommand("\(announced) items announced, \(left) bytes left") }
    return Int(announced)
  }
}
