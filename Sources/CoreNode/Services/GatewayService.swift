// portcullis.v1.Gateways: who protects which scopes, and the raises that are to be made and confirmed.

import CoordinationCore
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Protocol
import Tokens
import Wire

struct GatewayService: Sendable {
  private static let longestName = 256
  private static let longestReason = 1024

  /// Stands for a holder in the token of a raise whose grant is over.
  static let nobody = "(nobody)"

  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Gateways.protect: .streaming { [core] call in ProtectStream(call, core: core) },
      RPCPath.Gateways.list: .unary(list),
      RPCPath.Gateways.deregister: .unary(deregister),
    ]
  }

  @Sendable private func list(_ call: UnaryCall, _ body: ByteBuffer) {
    guard call.decode(Portcullis_V1_ListGatewaysRequest.self, from: body) != nil else { return }
    call.read(core) { [core] snapshot in
      do throws(RequestError) {
        try core.checkUser(call, in: snapshot)
      } catch {
        return call.fail(RPCStatus(error))
      }
      var response = Portcullis_V1_ListGatewaysResponse()
      response.evidence = core.evidence(snapshot)
      response.gateways = snapshot.state.gateways.all.map { record in
        var gateway = Portcullis_V1_Gateway()
        gateway.gateway = String(decoding: record.name.bytes, as: UTF8.self)
        gateway.scopes = record.scopes.map { String(decoding: $0.bytes, as: UTF8.self) }
        gateway.isConnected = core.gateways.contains(record.name)
        gateway.unconfirmed = Int64(record.unconfirmedCount)
        return gateway
      }
      response.gateways += snapshot.state.gateways.retired.map { retired in
        var gateway = Portcullis_V1_Gateway()
        gateway.gateway = String(decoding: retired.name.bytes, as: UTF8.self)
        gateway.isDeregistered = true
        gateway.deregisteredBy = retired.by
        gateway.reason = retired.reason
        return gateway
      }
      call.respond(response)
    }
  }

  @Sendable private func deregister(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_DeregisterGatewayRequest.self, from: body) else { return }
    guard !message.gateway.isEmpty, !message.reason.isEmpty, message.reason.utf8.count <= Self.longestReason else {
      return call.fail(
        RPCStatus(
          code: .invalidArgument,
          message:
            "deregistering needs the gateway's name, and a reason of at most \(Self.longestReason) bytes: why it is"
            + " known that it takes no more writes"))
    }
    let by: String
    do throws(RPCStatus) {
      by = try core.caller(of: call).map { String(decoding: $0.user.bytes, as: UTF8.self) } ?? "somebody unnamed"
    } catch {
      return call.fail(error)
    }
    let retired = RetiredGateway(name: Key(Bytes(message.gateway.utf8)), by: by, reason: message.reason)
    call.submit(.gateway(.retire(retired)), to: core) { [core] outcome, snapshot, _ in
      guard case .gatewayChanged(let wasThere) = outcome else { preconditionFailure("a gateway is retired or is not") }
      var response = Portcullis_V1_DeregisterGatewayResponse()
      response.evidence = core.evidence(snapshot)
      response.wasRegistered = wasThere
      call.respond(response)
    }
  }

  static func problem(with message: Portcullis_V1_RegisterGateway) -> String? {
    if message.gateway.isEmpty || message.gateway.utf8.count > longestName {
      return "a gateway needs a name of 1 to \(longestName) bytes"
    }
    if message.scopes.isEmpty || message.scopes.contains(where: { $0.isEmpty || $0.utf8.count > 1024 }) {
      return "a gateway protects at least one scope, and each has a name of 1 to 1024 bytes"
    }
    return nil
  }
}

extension CoreAccess {
  /// Notes that a gateway is connected. A name carries the identity of its file, so two of one name serve copies of one
  /// database. Each is sent every raise; which of them somebody reads, nobody can say.
  func gatewayCame(_ name: GatewayName) {
    guard gateways.came(name) > 1 else { return }
    logger.warning(
      "two gateways are connected for one database: copies of its file are served, or an earlier connection lingers",
      metadata: ["gateway": "\(String(decoding: name.bytes, as: UTF8.self))"])
  }
}

/// Those that protect through this node. Thread-safe.
final class ConnectedGateways: Sendable {
  private let counts = NIOLockedValueBox<[GatewayName: Int]>([:])

  func contains(_ name: GatewayName) -> Bool { counts.withLockedValue { $0[name] != nil } }

  /// Answers how many there are of that name now.
  func came(_ name: GatewayName) -> Int {
    counts.withLockedValue { counts in
      counts[name, default: 0] += 1
      return counts[name, default: 0]
    }
  }

  func went(_ name: GatewayName) {
    counts.withLockedValue { counts in
      let left = (counts[name] ?? 1) - 1
      counts[name] = left > 0 ? left : nil
    }
  }
}

/// One Protect stream. `@unchecked Sendable`: all but what the hub calls, which only hands over, runs on the connection's event
/// loop.
private final class ProtectStream: @unchecked Sendable, StreamHandler {
  private let call: StreamCall
  private let core: CoreAccess
  private var name: GatewayName?
  private var isRegistered = false
  private var observer: HoldHub.ObserverID?
  /// The raises that were sent, so that each is sent once on this stream.
  private var sent: [Key: Revision] = [:]
  private var isClosed = false

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
  }

  func received(_ message: ByteBuffer) {
    guard let request = call.decode(Portcullis_V1_ProtectRequest.self, from: message) else { return closed() }
    switch request.message {
    case .register(let registration) where name == nil: register(registration)
    case .confirmed(let confirmed) where isRegistered: confirm(confirmed)
    default:
      fail(RPCStatus(code: .invalidArgument, message: "a gateway registers first, once, and then confirms raises"))
    }
  }

  private func register(_ message: Portcullis_V1_RegisterGateway) {
    if let problem = GatewayService.problem(with: message) {
      return fail(RPCStatus(code: .invalidArgument, message: problem))
    }
    let name = Key(Bytes(message.gateway.utf8))
    let scopes = Set(message.scopes.map { Key(Bytes($0.utf8)) }).sorted()
    self.name = name
    core.gatewayCame(name)
    // Most of the time it is registered as it is, and its coming back need not be written down.
    core.readLinearizably(on: call.eventLoop) { [self] result in
      guard !isClosed else { return }
      switch result {
      case .failure(let failure): fail(RPCStatus(failure))
      case .success(let snapshot) where snapshot.state.gateways[name]?.scopes == scopes: registered(snapshot)
      case .success: submit(.register(name, scopes: scopes)) { self.registered($0) }
      }
    }
  }

  private func registered(_ snapshot: Snapshot) {
    isRegistered = true
    observer = core.holds.observeGateways { [weak self] in self?.lookSoon() }
    var response = Portcullis_V1_ProtectResponse()
    response.evidence = core.evidence(snapshot)
    response.registered = Portcullis_V1_Registered()
    _ = call.send(response)
    // What changed between the snapshot and the place to be told at is in the newest one.
    look()
    remind(snapshot)
  }

  private func lookSoon() {
    call.eventLoop.execute { [self] in look() }
  }

  private func look() {
    guard !isClosed, isRegistered, let name else { return }
    let snapshot = core.publication.snapshot
    guard let record = snapshot.state.gateways[name] else {
      return fail(RPCStatus(code: .failedPrecondition, message: "this gateway was deregistered"))
    }
    var open: [Key: Revision] = [:]
    for (scope, number) in record.raises {
      open[scope] = number
      if sent[scope] != number { send(scope, number, snapshot) }
    }
    sent = open
  }

  /// A gateway that comes back may have an older copy of its files: it is told the newest numbers again, also those that it
  /// has confirmed.
  private func remind(_ snapshot: Snapshot) {
    guard !isClosed, let record = name.flatMap({ snapshot.state.gateways[$0] }) else { return }
    for scope in record.scopes where sent[scope] == nil {
      guard let number = snapshot.state.scopes[scope]?.lastNumber, number > 0 else { continue }
      send(scope, number, snapshot)
    }
  }

  private func send(_ scope: Key, _ number: Revision, _ snapshot: Snapshot) {
    var response = Portcullis_V1_ProtectResponse()
    response.evidence = core.evidence(snapshot)
    response.raise.scope = String(decoding: scope.bytes, as: UTF8.self)
    response.raise.number = number
    // The token of a grant that is over is as good for a raise: it shuts out what is older.
    let holder = snapshot.state.scopes[scope]?.foremost?.holder ?? GatewayService.nobody
    do {
      response.raise.token = try core.issuer.token(
        scope: response.raise.scope, number: number, holder: holder, isShared: false)
    } catch {
      return fail(RPCStatus(code: .internalError, message: "the raise cannot be signed: \(error)"))
    }
    _ = call.send(response)
  }

  private func confirm(_ message: Portcullis_V1_RaiseConfirmed) {
    let scope = Key(Bytes(message.scope.utf8))
    guard let name, core.publication.snapshot.state.gateways[name]?.isUnconfirmed(scope) ?? false else { return }
    submit(.confirm(name, scope: scope, number: message.number)) { _ in }
  }

  private func submit(_ change: GatewayChange, _ body: @escaping @Sendable (Snapshot) -> Void) {
    let caller: Caller?
    do throws(RPCStatus) { caller = try core.caller(of: call) } catch { return fail(error) }
    core.submit(.gateway(change), by: caller, on: call.eventLoop) { [self] answer in
      guard !isClosed else { return }
      do throws(RPCStatus) {
        let (_, snapshot) = try answer.outcome()
        body(snapshot)
      } catch {
        fail(error)
      }
    }
  }

  private func fail(_ status: RPCStatus) {
    call.finish(status)
    closed()
  }

  func halfClosed() {
    guard !isClosed else { return }
    call.finish()
    closed()
  }

  func writable() {}

  func closed() {
    guard !isClosed else { return }
    isClosed = true
    if let observer { core.holds.endObservingGateways(observer) }
    if let name { core.gateways.went(name) }
  }
}
