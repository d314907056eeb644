// Owns who wants to know that a grant has ended. It holds no news: whoever is told looks at the newest snapshot.
// Must never: tell of an end before the snapshot that shows it is published.

import CoordinationCore
import NIOConcurrencyHelpers

/// Thread-safe.
final class HoldHub: Sendable {
  typealias ObserverID = UInt64

  private struct Registry {
    var observers: [Key: [ObserverID: @Sendable () -> Void]] = [:]
    var nextID: ObserverID = 1
  }

  private let registry = NIOLockedValueBox(Registry())

  /// Calls `body` on the loop's thread after a grant of the scope has ended, or may have. It must only hand over to
  /// somebody else's thread.
  func observe(_ scope: Key, _ body: @escaping @Sendable () -> Void) -> ObserverID {
    registry.withLockedValue { registry in
      defer { registry.nextID += 1 }
      registry.observers[scope, default: [:]][registry.nextID] = body
      return registry.nextID
    }
  }

  func endObserving(_ scope: Key, _ id: ObserverID) {
    registry.withLockedValue { registry in
      registry.observers[scope]?[id] = nil
      if registry.observers[scope]?.isEmpty == true { registry.observers[scope] = nil }
    }
  }

  /// Called by the loop's thread after it has published the snapshot without these grants.
  /// - Parameter grants: nil where nobody knows which ones ended: then everybody looks.
  func ended(_ grants: [GrantRecord]?) {
    let concerned = registry.withLockedValue { registry -> [@Sendable () -> Void] in
      guard !registry.observers.isEmpty else { return [] }
      guard let grants else { return registry.observers.values.flatMap(\.values) }
      return grants.flatMap { registry.observers[$0.scope].map { Array($0.values) } ?? [] }
    }
    for body in concerned { body() }
  }
}
