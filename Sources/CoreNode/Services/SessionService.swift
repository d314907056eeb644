// portcullis.v1.Sessions: leases with a holder, from opening to closing.

import CoordinationCore
import NIOCore
import Protocol
import Wire

struct SessionService: Sendable {
  private static let longestHolder = 512
  private static let mostListed = 1000

  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Sessions.open: .unary(open),
      RPCPath.Sessions.close: .unary(close),
      RPCPath.Sessions.describe: .unary(describe),
      RPCPath.Sessions.list: .unary(list),
      RPCPath.Sessions.keepAlive: .streaming { [core] call in SessionStream(call, core: core) },
    ]
  }

  @Sendable private func open(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_OpenSessionRequest.self, from: body) else { return }
    if let problem = problem(with: message) {
      return call.fail(RPCStatus(code: .invalidArgument, message: problem))
    }
    let id: LeaseID
    do throws(RPCStatus) {
      let isNamed = !message.requestID.isEmpty
      id =
        isNamed
        ? max(1, LeaseID(Digest.of(["session", message.holder, message.requestID]) >> 1))
        : LeaseService.newID(for: try call.requestName())
    } catch {
      return call.fail(error)
    }
    let command = Command.openSession(id, holder: message.holder, ttlMilliseconds: message.ttlMs)
    call.submit(command, to: core) { [core] outcome, snapshot, _ in
      guard case .leaseGranted(let id, let ttlMilliseconds) = outcome else {
        preconditionFailure("opening a session ends with a session")
      }
      var response = Portcullis_V1_OpenSessionResponse()
      response.evidence = core.evidence(snapshot)
      response.session.id = id
      response.session.holder = message.holder
      response.session.ttlMs = ttlMilliseconds
      response.session.timeLeftMs = snapshot.timeLeftMilliseconds(of: id)
      call.respond(response)
    }
  }

  private func problem(with message: Portcullis_V1_OpenSessionRequest) -> String? {
    let least = core.configuration.minimumLeaseMilliseconds
    if message.holder.isEmpty { return "a session needs a holder: a name by which others can tell whose it is" }
    if message.holder.utf8.count > Self.longestHolder {
      return "a holder's name may have \(Self.longestHolder) bytes, this one has \(message.holder.utf8.count)"
    }
    if message.ttlMs < least { return "a session needs ttl_ms of at least \(least), this one has \(message.ttlMs)" }
    if message.ttlMs / 1000 > core.configuration.limits.maxLeaseSeconds { return "ttl_ms is too large" }
    return nil
  }

  /// One that is closed already is not there any more, which is all that its client wants.
  @Sendable private func close(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_CloseSessionRequest.self, from: body) else { return }
    let caller: Caller?
    do throws(RPCStatus) { caller = try core.caller(of: call) } catch { return call.fail(error) }
    core.submit(.closeSession(message.id), by: caller, on: call.eventLoop) { [core] answer in
      var response = Portcullis_V1_CloseSessionResponse()
      if case .applied(.failed(.leaseNotFound), let snapshot, _) = answer {
        response.evidence = core.evidence(snapshot)
        return call.respond(response)
      }
      call.answer(answer) { _, snapshot in
        response.evidence = core.evidence(snapshot)
        call.respond(response)
      }
    }
  }

  @Sendable private func describe(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_DescribeSessionRequest.self, from: body) else { return }
    call.read(core) { [core] snapshot in
      do throws(RequestError) {
        try core.checkListing(of: message.id, by: call, in: snapshot)
      } catch {
        return call.fail(RPCStatus(error))
      }
      var response = Portcullis_V1_DescribeSessionResponse()
      response.evidence = core.evidence(snapshot)
      if let lease = snapshot.state.leases[message.id], !lease.holder.isEmpty {
        response.session = core.session(lease, snapshot)
        response.grants = lease.heldScopes.compactMap { scope in
          snapshot.state.scopes[scope]?.grant(of: lease.id).map { core.grant($0, snapshot) }
        }
        response.waitingFor = lease.awaitedScopes.map { String(decoding: $0.bytes, as: UTF8.self) }
      }
      call.respond(response)
    }
  }

  @Sendable private func list(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_ListSessionsRequest.self, from: body) else { return }
    call.read(core) { [core] snapshot in
      do throws(RequestError) {
        try core.checkListing(of: nil, by: call, in: snapshot)
      } catch {
        return call.fail(RPCStatus(error))
      }
      var response = Portcullis_V1_ListSessionsResponse()
      response.evidence = core.evidence(snapshot)
      let limit = message.limit > 0 ? min(Int(message.limit), Self.mostListed) : Self.mostListed
      snapshot.state.leases.forEach(from: message.from) { lease in
        guard !lease.holder.isEmpty else { return true }
        guard response.sessions.count < limit else {
          response.next = lease.id
          return false
        }
        response.sessions.append(core.session(lease, snapshot))
        return true
      }
      call.respond(response)
    }
  }
}

extension CoreAccess {
  func session(_ lease: Lease, _ snapshot: Snapshot) -> Portcullis_V1_Session {
    var session = Portcullis_V1_Session()
    session.id = lease.id
    session.holder = lease.holder
    session.ttlMs = lease.ttlMilliseconds
    session.timeLeftMs = snapshot.timeLeftMilliseconds(of: lease.id)
    session.grants = Int64(lease.grantsCount)
    session.waits = Int64(lease.waitsCount)
    return session
  }
}

/// Renews with every message and answers each, in the order in which the renewals were applied. `@unchecked Sendable`: used
/// on the connection's event loop alone.
private final class SessionStream: @unchecked Sendable, StreamHandler {
  private let call: StreamCall
  private let core: CoreAccess
  private var inFlight = 0
  private var isHalfClosed = false
  private var isClosed = false

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
  }

  func received(_ message: ByteBuffer) {
    guard let request = call.decode(Portcullis_V1_KeepSessionRequest.self, from: message) else { return closed() }
    let caller: Caller?
    do throws(RPCStatus) { caller = try core.caller(of: call) } catch { return fail(error) }
    inFlight += 1
    renew(request, by: caller)
  }

  private func renew(_ request: Portcullis_V1_KeepSessionRequest, by caller: Caller?) {
    core.submit(.leaseRenew(request.id), by: caller, on: call.eventLoop) { [self] answer in
      if !isClosed, let caller, let again = core.caller(of: call, after: answer, by: caller) {
        return renew(request, by: again)
      }
      inFlight -= 1
      if !isClosed { settle(request, answer) }
      finishWhenDone()
    }
  }

  private func settle(_ request: Portcullis_V1_KeepSessionRequest, _ answer: Answer) {
    var response = Portcullis_V1_KeepSessionResponse()
    response.sequence = request.sequence
    switch answer {
    case .applied(.leaseRenewed(_, let ttlMilliseconds), let snapshot, _):
      response.evidence = core.evidence(snapshot)
      response.timeLeftMs = ttlMilliseconds
      _ = call.send(response)
    case .applied(.failed(.leaseNotFound), let snapshot, _):
      response.evidence = core.evidence(snapshot)
      _ = call.send(response)
      isClosed = true
      call.finish()
    case .applied, .refused, .tooLarge, .timedOut, .stopping, .done:
      do throws(RPCStatus) { _ = try answer.outcome() } catch { fail(error) }
    }
  }

  private func fail(_ status: RPCStatus) {
    isClosed = true
    call.finish(status)
  }

  func halfClosed() {
    isHalfClosed = true
    finishWhenDone()
  }

  private func finishWhenDone() {
    guard isHalfClosed, inFlight == 0, !isClosed else { return }
    isClosed = true
    call.finish()
  }

  func writable() {}
  func closed() { isClosed = true }
}
