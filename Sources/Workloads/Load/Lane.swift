// Owns one connection to the target, and opening it again when it is lost.
//
// It must never touch its state off its event loop, and never keep trying after `close()`.

import NIOCore
import Wire

private enum LanePace {
  /// HTTP/2 has 2³⁰ stream numbers for a client on one connection. A run of many hours replaces the connection before.
  static let callsOnOneConnection = 1_000_000_000
  static let firstPauseMilliseconds: Int64 = 50
  static let longestPauseMilliseconds: Int64 = 1_000
}

/// A connection that comes back. It goes to the next endpoint at each attempt, as a client of a cluster does.
///
/// `@unchecked Sendable`: everything mutable is read and written on `eventLoop` only. Each entry asserts that, and each
/// callback of a future of that loop runs on it.
final class Lane<Connection: LoadConnection>: @unchecked Sendable {
  private enum State {
    case down
    case up(Connection)
    case closed
  }

  let eventLoop: any EventLoop
  private let endpoints: [Endpoint]
  private let tls: TLSSource?
  private var nextEndpoint: Int
  private var pauseMilliseconds = LanePace.firstPauseMilliseconds
  private var calls = 0
  private var state = State.down
  /// Why there is no connection, for the error that an operation gets which needs one.
  private(set) var downReason = RPCStatus(.unavailable, "not connected yet")
  /// Called on the event loop when the connection is back after a loss.
  var onReturn: (Connection) -> Void = { _ in }

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

  /// The connection, for what is no call of the load.
  var connection: Connection? {
    eventLoop.assertInEventLoop()
    guard case .up(let connection) = state else { return nil }
    return connection
  }

  /// The connection for one more call, or nil when there is none now.
  func connectionForCall() -> Connection? {
    eventLoop.assertInEventLoop()
    guard case .up(let connection) = state else { return nil }
    calls += 1
    if calls >= LanePace.callsOnOneConnection { connection.close() }
    return connection
  }

  /// The first attempt. It fails with a status that says what was tried; later losses are mended without a word.
  func open() -> EventLoopFuture<Connection> {
    eventLoop.flatSubmit { self.connect() }
  }

  private func connect() -> EventLoopFuture<Connection> {
    eventLoop.assertInEventLoop()
    let endpoint = endpoints[nextEndpoint]
    nextEndpoint = (nextEndpoint + 1) % endpoints.count
    return Connection.open(to: endpoint, on: eventLoop, tls: tls).map { connection in
      self.connected(connection)
      return connection
    }
  }

  private func connected(_ connection: Connection) {
    eventLoop.assertInEventLoop()
    if case .closed = state {
      connection.close()
      return
    }
    state = .up(connection)
    calls = 0
    pauseMilliseconds = LanePace.firstPauseMilliseconds
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
    pauseMilliseconds = Swift.min(2 * pauseMilliseconds, LanePace.longestPauseMilliseconds)
  }

  private func reconnect() {
    if case .closed = state { return }
    connect().whenComplete { result in
      switch result {
      case .success(let connection):
        if self.isUp { self.onReturn(connection) }
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
    onReturn = { _ in }
  }
}
