// Owns who wants to know what becomes of scopes: that a grant ended, who is next, which raises gateways are to make. It holds
// no news: whoever is told looks at the newest snapshot.
// Must never: tell of a change before the snapshot that shows it is published.

import CoordinationCore
import NIOConcurrencyHelpers

/// Thread-safe.
final class HoldHub: Sendable {
  typealias ObserverID = UInt64

  private struct Registry {
    var observers: [Key: [ObserverID: @Sendable () -> Void]] = [:]
    var gateways: [ObserverID: @Sendable () -> Void] = [:]
    var nextID: ObserverID = 1
  }

  private let registry = NIOLockedValueBox(Registry())

  /// Calls `body` on the loop's thread after something of the scope has changed, or may have. It must only hand over to
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

  /// The same for whoever waits for raises to be made or confirmed.
  func observeGateways(_ body: @escaping @Sendable () -> Void) -> ObserverID {
    registry.withLockedValue { registry in
      defer { registry.nextID += 1 }
      registry.gateways[registry.nextID] = body
      return registry.nextID
    }
  }

  func endObservingGateways(_ id: ObserverID) { registry.withLockedValue { $0.gateways[id] = nil } }

  /// Called by the loop's thread after it has published the snapshot that shows the change.
  /// - Parameter scopes: nil where nobody knows which ones changed: then everybody looks.
  func changed(_ scopes: [Key]?, concernsGateways: Bool) {
    let concerned = registry.withLockedValue { registry -> [@Sendable () -> Void] in
      guard !registry.observers.isEmpty || !registry.gateways.isEmpty else { return [] }
      let gateways = concernsGateways || scopes == nil ? Array(registry.gateways.values) : []
      guard let scopes else { return registry.observers.values.flatMap(\.values) + gateways }
      return scopes.flatMap { registry.observers[$0].map { Array($0.values) } ?? [] } + gateways
    }
    for body in concerned { body() }
  }
}
