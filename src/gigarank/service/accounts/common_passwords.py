"""Passwords that are guessed first, of those that are long enough to be chosen. Data, in lower case."""

_WORDS = """
0123456789 0987654321 1029384756 1122334455 112233445566 123123123123 123456123456 1234567890 1234567890a 1234567891
12345678910 123456789123 123456789a 1357924680 147258369a 159357159357 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 1qazxsw23edc
9876543210 987654321a a123456789 a1b2c3d4e5 a1s2d3f4g5 aa12345678 abc1234567 abc123456789 abcd123456 abcd1234abcd
abcde12345 abcdefg123 abcdefghij abcdefghijk abcdefghijkl admin12345 admin123456 admin1234567 adminadmin adminadmin1
administrator administrator1 alexander1 arsenal123 asdf1234asdf asdfghjkl1 asdfghjkl123 asdfghjkl; asshole123 autumn2025
autumn2026 barcelona1 baseball12 baseball123 basketball basketball1 batman1234 blink182blink butterfly1 butterfly123
changeit123 changeme123 changeme1234 changethis charlie123 chelsea123 chocolate1 chocolate123 christian1 christopher
computer12 computer123 correcthorsebatterystaple daniel1234 default123 dragon1234 elizabeth1 facebook123 football12
football123 fuckyou123 fuckyou1234 gigarank123 gigarank1234 gigarank2026 google1234 google12345 guest12345 hello12345
hello123456 helloworld helloworld1 helloworld123 iloveyou12 iloveyou123 iloveyou1234 iloveyou2u iloveyouforever
iloveyousomuch internet123 january2026 jennifer123 jessica123 juventus123 letmein123 letmein1234 letmeinnow liverpool1
liverpool123 login12345 manchester manchester1 michael123 microsoft1 minecraft1 minecraft123 monkey1234 mypassword
mypassword1 newpassword newpassword1 p@ssw0rd123 p@ssword123 passw0rd123 password!1 password00 password01 password11
password12 password123 password1234 password12345 password123456 password2024 password2025 password2026 password99
password@123 passwordpassword playstation pokemon123 princess12 princess123 q1w2e3r4t5 q1w2e3r4t5y6 qazwsx123456
qazwsxedcrfv qweasdzxc1 qweasdzxc123 qwer1234qwer qwerty12345 qwerty123456 qwerty1234567 qwerty1234567890 qwertyuiop
qwertyuiop1 qwertyuiop123 qwertyuiop[] realmadrid realmadrid1 rootroot12 samantha123 secret1234 secret12345 spiderman1
spiderman123 spring2025 spring2026 starwars123 strawberry strawberry1 summer2024 summer2025 summer2026 sunshine12
sunshine123 superman123 supersecret test123456 test1234567 tester1234 testing123 testing1234 testtest12 testtest123
thepassword topsecret1 trustno1234 user123456 username123 welcome123 welcome1234 welcome2024 welcome2025 welcome2026
whatever12 whatever123 winter2024 winter2025 winter2026 zaq12wsxcde3 zxcvbnm,./ zxcvbnm123 zxcvbnm1234
"""
COMMON = frozenset(_WORDS.split())
