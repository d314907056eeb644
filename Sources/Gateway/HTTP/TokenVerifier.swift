// From the text of a token to its claims, with the keys of the cluster.
//
// Must never take claims from a token whose signature it could not check: where the keys cannot be had, it refuses.
// Keys are asked for again when a token names an unknown one, at a bounded rate, so that made-up key ids do not turn the
// gateway against the core.

import FencingCore
import Logging
import Synchronization
import Tokens

enum VerificationFailure: Error {
  case token(TokenError)
  case keysUnavailable
}

final class TokenVerifier: Sendable {
  private struct State {
    var keys: KeySet? {
      didSet { keysVersion += 1 }
    }
    var keysVersion: UInt64 = 0
    var cache: VerifiedTokenCache
    var refreshedAtNanoseconds: UInt64?
    var refresh: Task<KeySet, any Error>?
  }

  private let source: any AuthorityKeys
  private let limits: GatewayLimits
  private let logger: Logger
  private let state: Mutex<State>

  init(source: any AuthorityKeys, limits: GatewayLimits, logger: Logger) {
    self.source = source
    self.limits = limits
    self.logger = logger
    self.state = Mutex(State(cache: VerifiedTokenCache(capacity: limits.cachedTokens)))
  }

  func verify(_ token: String) async throws(VerificationFailure) -> FenceClaims {
    guard token.utf8.count <= TokenText.maximumBytes else {
      throw .token(.tooLong(bytes: token.utf8.count, limit: TokenText.maximumBytes))
    }
    if let keys = state.withLock({ $0.keys }) {
      refreshOldKeys()
      do throws(TokenError) {
        return try verify(token, with: keys)
      } catch {
        guard case .unknownKey = error else { throw .token(error) }
      }
    }
    let keys = try await refreshedKeys()
    do throws(TokenError) {
      return try verify(token, with: keys)
    } catch {
      throw .token(error)
    }
  }

  /// The claims of a token that was verified before and is still good, without waiting for anything.
  func remembered(_ token: String) -> VerifiedToken? {
    guard let keys = state.withLock({ $0.keys }) else { return nil }
    refreshOldKeys()
    return (try? remembered(token, with: keys)) ?? nil
  }

  /// Changes with the keys.
  var keysVersion: UInt64 { state.withLock { $0.keysVersion } }

  /// Whether a token that was remembered while the keys had that version still is good.
  func isGood(_ verified: VerifiedToken, keysVersion: UInt64) -> Bool {
    let now = MonotonicClock.nanoseconds
    let isSame = state.withLock { state in
      refreshOldKeys(&state, now)
      return state.keysVersion == keysVersion
    }
    return isSame
      && (try? verified.checkExpiry(nowSeconds: WallClock.seconds, leewaySeconds: limits.tokenLeewaySeconds)) != nil
  }

  private func remembered(_ token: String, with keys: KeySet) throws(TokenError) -> VerifiedToken? {
    let (now, leeway) = (WallClock.seconds, limits.tokenLeewaySeconds)
    return try state.withLock { state in
      Result { () throws(TokenError) in
        try state.cache.token(token, keys: keys, nowSeconds: now, leewaySeconds: leeway)
      }
    }.get()
  }

  private func verify(_ token: String, with keys: KeySet) throws(TokenError) -> FenceClaims {
    if let verified = try remembered(token, with: keys) { return verified.claims }
    let (now, leeway) = (WallClock.seconds, limits.tokenLeewaySeconds)
    // Outside the lock: a verification takes longer than everything else here together.
    let verified = try keys.verifiedToken(token, nowSeconds: now, leewaySeconds: leeway)
    state.withLock { $0.cache.insert(verified, for: token) }
    return verified.claims
  }

  /// Asks for the keys, together with whoever asks at the same time.
  private func refreshedKeys() async throws(VerificationFailure) -> KeySet {
    let now = MonotonicClock.nanoseconds
    let interval = UInt64(limits.keyRefreshSeconds * 1e9)
    let asked = state.withLock { state -> (task: Task<KeySet, any Error>?, keys: KeySet?) in
      if let task = state.refresh { return (task, state.keys) }
      if let last = state.refreshedAtNanoseconds, now < last + interval, state.keys != nil { return (nil, state.keys) }
      return (start(&state, now), state.keys)
    }
    guard let task = asked.task else {
      guard let keys = asked.keys else { throw .keysUnavailable }
      return keys
    }
    switch await task.result {
    case .success(let keys): return keys
    case .failure(let error):
      logger.warning("the cluster's keys cannot be had", metadata: ["why": "\(error)"])
      throw .keysUnavailable
    }
  }

  /// Nobody waits for it: where the core is out of reach, the keys that are known and the stored floors go on deciding.
  private func refreshOldKeys() {
    let now = MonotonicClock.nanoseconds
    state.withLock { refreshOldKeys(&$0, now) }
  }

  private func refreshOldKeys(_ state: inout State, _ now: UInt64) {
    guard state.refresh == nil, let last = state.refreshedAtNanoseconds,
      now >= last + UInt64(limits.keyAgeSeconds * 1e9)
    else { return }
    _ = start(&state, now)
  }

  private func start(_ state: inout State, _ now: UInt64) -> Task<KeySet, any Error> {
    let hasKeys = state.keys != nil
    let task = Task { [source] in
      let answer: Result<KeySet, any Error>
      do { answer = .success(try await source.keySet(refresh: hasKeys)) } catch { answer = .failure(error) }
      self.state.withLock { state in
        state.refresh = nil
        if case .success(let keys) = answer { state.keys = keys }
      }
      return try answer.get()
    }
    state.refresh = task
    state.refreshedAtNanoseconds = now
    return task
  }
}
