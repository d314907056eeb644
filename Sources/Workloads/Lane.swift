// Owns one connection to the target, and opening it again when it is lost.
//
// It must never touch its state off its event loop, and never keep trying after `close()`.

import NIOCore
import Wire

/// A connection that comes back. It goes to the next endpoint at each attempt, as a client of a cluster does.
///
/// `@unchecked Sendable`: everything mutable is read and written on `eventLoop` only. Each entry asserts that, and each
/// callback of a future of that loop runs on it.
final class Lane: @unchecked Sendable {
  private enum State {
    case down
    case up(WireConnection)
    case closed
  }

  /// HTTP/2 has 2³⁰ stream numbers for a client on one connection. A run of many hours replaces the connection before.
  private static let callsOnOneConnection = 1_000_000_000
  private static let firstPauseMilliseconds: Int64 = 50
  private static let longestPauseMilliseconds: Int64 = 1_000

  let eventLoop: any EventLoop
  private let endpoints: [Endpoint]
  private let tls: TLSSource?
  private var nextEndpoint: Int
  private var pauseMilliseconds = Lane.firstPauseMilliseconds
  private var calls = 0
  private var state = State.down
  /// Why there is no connection, for the error that an operation gets which needs one.
  private(set) var downReason = RPCStatus(.unavailable, "not connected yet")
  /// Called on the event loop when the connection is back after a loss.
  var onReturn: () -> Void = {}

  init(eventLoop: any EventLoop, endpoints: [Endpoint], tls: TLSSource?, number: Int) {
    precondition(!endpoints.isEmpty)
    self.eventLoop = eventLoop
    self.endpoints = endpoints
    self.tls = tls
    nextEndpoint = number % endpoints.count
  }

  var isUp: Bool {
    eventLoop.assertInEventLoop()
    if case .up = state { return true }
    return false
  }

  /// The connection for one more call, or nil when there is none now.
  func connectionForCall() -> WireConnection? {
    eventLoop.assertInEventLoop()
    guard case .up(let connection) = state else { return nil }
    calls += 1
    if calls >= Self.callsOnOneConnection { connection.close() }
    return connection
  }

  /// The first attempt. It fails with a status that says what was tried; later losses are mended without a word.
  func open() -> EventLoopFuture<WireConnection> {
    eventLoop.flatSubmit { self.connect() }
  }

  private func connect() -> EventLoopFuture<WireConnection> {
    eventLoop.assertInEventLoop()
    let endpoint = endpoints[nextEndpoint]
    nextEndpoint = (nextEndpoint + 1) % endpoints.count
    return WireConnection.connect(
      host: endpoint.host, port: endpoint.port, on: eventLoop, tls: endpoint.usesTLS ? tls : nil
    )
    .map { connection in
      self.connected(connection)
      return connection
    }
  }

  private func connected(_ connection: WireConnection) {
    eventLoop.assertInEventLoop()
    if case .closed = state {
      connection.close()
      return
    }
    state = .up(connection)
    calls = 0
    pauseMilliseconds = Self.firstPauseMilliseconds
    connection.closeFuture.whenComplete { _ in
      self.lost(RPCStatus(.unavailable, "the connection was lost and is not back yet"))
    }
  }

  private func lost(_ reason: RPCStatus) {
    eventLoop.assertInEventLoop()
    if case .closed = state { return }
    state = .down
    downReason = reason
    eventLoop.scheduleTask(in: .milliseconds(pauseMilliseconds)) { self.reconnect() }
    pauseMilliseconds = Swift.min(2 * pauseMilliseconds, Self.longestPauseMilliseconds)
  }

  private func reconnect() {
    if case .closed = state { return }
    connect().whenComplete { result in
      switch result {
      case .success:
        if self.isUp { self.onReturn() }
      case .failure(let error):
        self.lost(error as? RPCStatus ?? RPCStatus(.unavailable, "\(error)"))
      }
    }
  }

  /// Ends it for good.
  func close() {
    eventLoop.assertInEventLoop()
    if case .up(let connection) = state { connection.close() }
    state = .closed
    onReturn = {}
  }
}
