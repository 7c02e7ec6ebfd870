import java.net.InetSocketAddress;
import java.util.List;

import org.h2.mvstore.MVStore;

import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;

/** mongo-java-server on a file: `TestServer FILE PORT`. What it has acknowledged is on disk, so that it may be killed. */
public final class TestServer {
    private TestServer() {
    }

    public static void main(String[] arguments) throws Exception {
        MVStore file = new MVStore.Builder().fileName(arguments[0]).autoCommitDisabled().open();
        MongoServer server = new MongoServer(new DurableBackend(file));
        server.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[1])));
        System.out.println("ready");
        while (System.in.read() >= 0) { // whoever started it holds the other end: it never outlives them
            continue;
        }
        server.shutdownNow();
    }

    /** One message at a time, and on disk before it is answered. */
    private static final class DurableBackend extends H2Backend {
        DurableBackend(MVStore file) {
            super(file);
            version(new WireVersion9());
        }

        @Override
        public synchronized Document handleMessage(MongoMessage message) {
            Document answer = super.handleMessage(message);
            if (getMvStore().hasUnsavedChanges()) {
                commit();
            }
            return answer;
        }
    }

    /** Its own newest, wire version 8, is refused by PyMongo 4.20. */
    private static final class WireVersion9 implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(4, 4, 0);
        }

        @Override
        public int getWireVersion() {
            return 9;
        }
    }
}
