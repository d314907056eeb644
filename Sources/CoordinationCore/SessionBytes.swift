// Owns what format 4 adds to the bytes of a state: sessions, terms of grants, and gateways (StateWriter.swift has the form).
// Must never: accept what no writer gives.

extension ByteWriter {
  mutating func rest(of waiter: Waiter) {
    data(waiter.scope.bytes)
    flags(waiter.terms != nil)
    if let terms = waiter.terms { self.terms(terms) }
  }
}

extension StrictReader {
  mutating func terms() throws(StateError) -> GrantTerms {
    var terms = GrantTerms()
    terms.isShared = try flag()
    let count = try number()
    guard count <= UInt64(left) else { throw .cutShort }
    for _ in 0..<count { terms.more.append(Key(try data())) }
    terms.lockDelayMilliseconds = try signed()
    terms.value = try data()
    let raw = try byte()
    guard let barrier = GrantTerms.Barrier(rawValue: raw) else { throw malformed("unknown barrier \(raw)") }
    terms.barrier = barrier
    terms.barrierMilliseconds = try signed()
    return terms
  }
}

struct GatewayWriter: Sendable {
  private var records: OrderedTree<GatewayName, GatewayRecord>.Cursor
  private var record: GatewayRecord?
  private var scopePosition = 0
  private let retired: [RetiredGateway]
  private var retiredPosition = 0

  init(_ table: GatewayTable) {
    records = .init(table.gateways)
    retired = table.retired
  }

  /// - Returns: false when all was written.
  mutating func writeRecord(to out: inout ByteWriter) -> Bool {
    if let record, scopePosition < record.scopes.count {
      let scope = record.scopes[scopePosition]
      scopePosition += 1
      out.byte(StateFormat.part)
      out.data(scope.bytes)
      out.number(UInt64(record.unconfirmed[scope] ?? 0))
      return true
    }
    if let (name, next) = records.next() {
      out.byte(StateFormat.record)
      out.data(name.bytes)
      record = next
      scopePosition = 0
      return true
    }
    guard retiredPosition < retired.count else { return false }
    let gone = retired[retiredPosition]
    retiredPosition += 1
    out.byte(StateFormat.deletion)
    out.data(gone.name.bytes)
    out.data(Bytes(gone.by.utf8))
    out.data(Bytes(gone.reason.utf8))
    return true
  }
}

struct GatewayAssembly: Sendable {
  private var records: [GatewayRecord] = []
  private var retired: [RetiredGateway] = []

  mutating func read(_ tag: UInt8, _ input: inout StrictReader) throws(StateError) {
    switch tag {
    case StateFormat.record:
      let name = Key(try input.data())
      guard retired.isEmpty, records.count < StateLimits.maxGateways, records.last.map({ $0.name < name }) ?? true
      else {
        throw input.malformed("gateways that do not ascend, or too many")
      }
      records.append(GatewayRecord(name: name))
    case StateFormat.part:
      let scope = Key(try input.data())
      let number = try input.revision()
      guard retired.isEmpty, var record = records.last, record.scopes.last.map({ $0 < scope }) ?? true,
        record.scopes.count < StateLimits.maxScopesPerGateway
      else { throw input.malformed("scopes of a gateway that do not ascend, or too many") }
      record.scopes.append(scope)
      if number != 0 { record.unconfirmed.updateValue(number, forKey: scope) }
      records[records.count - 1] = record
    case StateFormat.deletion:
      let gone = RetiredGateway(name: Key(try input.data()), by: try input.text(), reason: try input.text())
      guard retired.count < StateLimits.maxRetiredGateways else { throw input.malformed("too many retired gateways") }
      retired.append(gone)
    default: throw input.malformed("unknown tag \(tag)")
    }
  }

  func finish() -> GatewayTable { GatewayTable(sorted: records, retired: retired) }
}
